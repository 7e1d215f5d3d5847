"""Random choices that are the same on every machine and in every Python.

Python promises a stable sequence only for `Random.random()`; everything here is made from it, and seeds are
integers taken from SHA-256, so neither hash randomisation nor a changed `shuffle` can move a byte.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """One stream of choices, set by its key alone.

    A key for every document keeps documents independent of each other: a fact that changes in one place
    leaves all other text as it was.
    """

    def __init__(self, *key: object) -> None:
        digest = hashlib.sha256("|".join(str(part) for part in key).encode()).digest()
        self._random = random.Random(int.from_bytes(digest[:8], "big"))

    def below(self, limit: int) -> int:
        """A whole number from 0 to limit - 1."""
        return int(self._random.random() * limit)

    def chance(self, share: float) -> bool:
        """True with the given probability."""
        return self._random.random() < share

    def pick(self, items: Sequence[T]) -> T:
        """One item; the sequence must not be empty."""
        return items[self.below(len(items))]

    def some(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different positions of `items` (all of them if there are fewer), in random order."""
        pool = list(items)
        for i in range(min(count, len(pool))):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:count]

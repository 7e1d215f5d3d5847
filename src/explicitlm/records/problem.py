"""What is told of a file that cannot be read among others that can."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A file among the records, or beside them, that is none. path: in the checkout; cause: why, in one line."""

    path: str
    cause: str

    def __str__(self) -> str:
        return f"{self.path} is left out: {self.cause}"

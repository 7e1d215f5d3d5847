"""A 64-bit mixing function: random-looking numbers from indices, the same with every version of numpy.

numpy's Philox gives equal raw bits in every version too, but needs a generator for each key; this is one vectorised
expression over any array of keys, and torch can compute the same on a GPU (memory/noise.py).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)

_ROUNDS = 8  # of the Feistel network; 4 are the least that theory asks for


def splitmix64(x: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele et al., OOPSLA 2014), element by element."""
    with np.errstate(over="ignore"):
        z = np.asarray(x, dtype=np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)))


def permutation(length: int, *key: int) -> NDArray[np.int64]:
    """A shuffle of range(length) that depends on the key alone (numpy's own may change between versions)."""
    return shuffled(np.arange(length), length, *key)


def shuffled(places: NDArray[np.int64], length: int, *key: int) -> NDArray[np.int64]:
    """What stands at some places of `permutation(length, *key)`, without making the rest of it.

    A Feistel network over numbers (a, b) with a below A, b below B and A * B the least such product that holds
    `length`: each round is a bijection whatever its mixing function is (Black and Rogaway, CT-RSA 2002). Results
    that are not below `length` go through it again until they are ("cycle walking"), which at most A of them do.
    """
    state = np.uint64(0)
    for part in key:
        state = np.uint64(splitmix64(np.uint64(state ^ np.uint64(part))))
    side_a = np.uint64(math.isqrt(max(length - 1, 0)) + 1)
    side_b = np.uint64(-(-length // int(side_a)))
    result = places.astype(np.uint64)
    todo = np.arange(len(result))
    while todo.size:
        a, b = np.divmod(result[todo], side_b)
        for number in range(0, _ROUNDS, 2):
            a = (a + splitmix64(b ^ splitmix64(state ^ np.uint64(number))) % side_a) % side_a
            b = (b + splitmix64(a ^ splitmix64(state ^ np.uint64(number + 1))) % side_b) % side_b
        result[todo] = a * side_b + b
        todo = todo[result[todo] >= np.uint64(length)]
    return result.astype(np.int64)

"""A 64-bit mixing function: random-looking numbers from indices, the same with every version of numpy.

numpy's Philox gives equal raw bits in every version too, but needs a generator for each key; this is one vectorised
expression over any array of keys, and torch can compute the same on a GPU (memory/noise.py).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def splitmix64(x: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele et al., OOPSLA 2014), element by element."""
    with np.errstate(over="ignore"):
        z = np.asarray(x, dtype=np.uint64) + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)))


def permutation(length: int, *key: int) -> NDArray[np.int64]:
    """A shuffle of range(length) that depends on the key alone (numpy's own may change between versions)."""
    state = np.uint64(0)
    for part in key:
        state = np.uint64(splitmix64(np.uint64(state ^ np.uint64(part))))
    with np.errstate(over="ignore"):
        draws = splitmix64(splitmix64(np.arange(length, dtype=np.uint64)) ^ state)
    return np.argsort(draws, kind="stable").astype(np.int64, copy=False)

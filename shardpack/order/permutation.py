"""Pseudo-random order as a pure function of integers (SPEC 7).

Part of the format: the same on every platform and version of Python. NumPy guarantees the stream of a
generator only for one build, so the mixer is defined here: the finalizer of SplitMix64 (Steele, Lea, Flood
2014, "Fast Splittable Pseudorandom Number Generators", figure 16), a bijection of 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Purposes: the first number of a derived key, so that no two orders share a key.
PACK_ORDER = 1
SHARD_ORDER = 2
BLOCK_ORDER = 3
WINDOW_ORDER = 4
GLOBAL_ORDER = 5
MIX_SEED = 6
MIX_PHASE = 7
SAMPLE_SEED = 8  # of transforms: no order
SPLIT_ORDER = 9
FORK_CHOICE = 10
ROUND_ORDER = 11
CLASS_ORDER = 12
DRAW_ORDER = 13

GOLDEN = 0x9E3779B97F4A7C15
_MULTIPLY_1 = 0xBF58476D1CE4E5B9
_MULTIPLY_2 = 0x94D049BB133111EB
_MASK = 2**64 - 1


def mix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the mixed values. The mixer is a bijection, so distinct values stay distinct."""
    mixed = (values ^ (values >> np.uint64(30))) * np.uint64(_MULTIPLY_1)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(_MULTIPLY_2)
    return mixed ^ (mixed >> np.uint64(31))


def derive_key(*numbers: int) -> int:
    """Return a 64-bit key that depends on every number and on their order.

    Args:
        numbers: Purpose, seed, epoch, ...: integers of any size, taken modulo 2^64.
    """
    key = 0
    for number in numbers:  # mix64 in plain integers: a tenth of the time for so few
        key = (key * GOLDEN + int(number) + GOLDEN) & _MASK
        key = (key ^ (key >> 30)) * _MULTIPLY_1 & _MASK
        key = (key ^ (key >> 27)) * _MULTIPLY_2 & _MASK
        key ^= key >> 31
    return key


def extend_keys(keys: npt.NDArray[np.uint64] | int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return the keys that `derive_key` would return with one more number, for many numbers at once."""
    first = np.asarray(keys, np.uint64).reshape(-1) * np.uint64(GOLDEN)
    return mix64(first + numbers.astype(np.uint64) + np.uint64(GOLDEN))


def permutation(count: int, key: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 .. count - 1 in the order that `key` selects.

    Number i is ranked by mix64((i + 1) * golden + key): ranks never tie, because both steps are
    bijections. Memory: 24 bytes per number.
    """
    ranks = np.arange(1, count + 1, dtype=np.uint64)
    ranks *= np.uint64(GOLDEN)
    ranks += np.uint64(key)
    order: npt.NDArray[Any] = np.argsort(mix64(ranks))  # any kind of sort, as ranks never tie
    return order.astype(np.int64, copy=False)

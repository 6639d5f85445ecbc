"""Pseudo-random order as a pure function of integers (SPEC 7).

Part of the format: the same on every platform and Python. NumPy promises a generator's stream for
one build only, so the mixer is ours: the finalizer of SplitMix64 (Steele, Lea, Flood 2014,
"Fast Splittable Pseudorandom Number Generators", figure 16), a bijection of 64-bit integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Purposes: the first number of a derived key, so that no two orders share one.
PACK_ORDER = 1
SHARD_ORDER = 2
BLOCK_ORDER = 3
WINDOW_ORDER = 4
GLOBAL_ORDER = 5

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


def mix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the mixed values: a bijection, so distinct values stay distinct."""
    mixed = (values ^ (values >> _SHIFT_1)) * _MULTIPLY_1
    mixed = (mixed ^ (mixed >> _SHIFT_2)) * _MULTIPLY_2
    return mixed ^ (mixed >> _SHIFT_3)


def derive_key(*numbers: int) -> int:
    """Return a 64-bit key that depends on every number and on their order.

    Args:
        numbers: Seed, epoch, purpose: integers of any size; taken modulo 2^64.
    """
    key = np.zeros(1, np.uint64)
    for number in numbers:
        part = np.array([int(number) % 2**64], np.uint64)
        key = mix64(key * _GOLDEN + part + _GOLDEN)
    return int(key[0])


def permutation(count: int, key: int) -> npt.NDArray[np.int64]:
    """Return the numbers 0 .. count - 1 in the order that `key` selects.

    Number i is ranked by mix64((i + 1) * golden + key): ranks never tie, because both steps are
    bijections. Memory: 24 bytes a number.
    """
    ranks = np.arange(1, count + 1, dtype=np.uint64)
    ranks *= _GOLDEN
    ranks += np.uint64(key)
    order: npt.NDArray[Any] = np.argsort(mix64(ranks), kind="stable")
    return order.astype(np.int64, copy=False)

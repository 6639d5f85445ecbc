"""A permutation of 0 .. count - 1 in constant memory: any element by arithmetic alone (SPEC 7.2).

A Feistel network over the smallest power of two that holds `count`, with cycle walking: what falls
outside is sent through again until it falls inside (Black and Rogaway 2002, "Ciphers with Arbitrary
Finite Domains", section 3). A bijection for every key, whatever the round function.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.plan.order import mix64

ROUNDS = 4  # pairs of half-rounds
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def shuffled(places: npt.NDArray[np.int64], count: int, key: int) -> npt.NDArray[np.int64]:
    """Return the elements at some places of the permutation of `count` numbers that `key` selects.

    Args:
        places: Any of 0 .. count - 1, in any order.
        count: Size of the permutation.
        key: From `derive_key`.

    Costs about 0.1 us a place in arrays of thousands; memory is that of `places`.
    """
    if count < 2:
        return places.copy()
    bits = (count - 1).bit_length()
    network = _Feistel(bits, key)
    values = network(places.astype(np.uint64))
    outside = np.flatnonzero(values >= np.uint64(count))
    while len(outside):
        values[outside] = network(values[outside])
        outside = outside[values[outside] >= np.uint64(count)]
    return values.astype(np.int64)


class _Feistel:
    """A bijection of the numbers below 2^bits. The two halves take turns, each xored with a mix of the other."""

    def __init__(self, bits: int, key: int) -> None:
        low_bits = bits // 2
        self._shift = np.uint64(low_bits)
        self._low = np.uint64((1 << low_bits) - 1)
        self._high = np.uint64((1 << (bits - low_bits)) - 1)
        rounds = np.arange(1, 2 * ROUNDS + 1, dtype=np.uint64)
        self._keys = mix64(rounds * _GOLDEN + np.uint64(key))

    def __call__(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        low, high = values & self._low, values >> self._shift
        for i in range(0, 2 * ROUNDS, 2):
            high ^= mix64(low + self._keys[i]) & self._high
            low ^= mix64(high + self._keys[i + 1]) & self._low
        return high << self._shift | low

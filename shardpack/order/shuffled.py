"""A permutation of 0 .. count - 1, any element of it by arithmetic alone (SPEC 7.2).

Small ones are sorted (`permutation`): exactly as even as the mixer. Large ones take constant
memory: a Feistel network over the smallest power of two that holds `count`, with cycle walking:
what falls outside is sent through again until it falls inside (Black and Rogaway 2002, "Ciphers
with Arbitrary Finite Domains", section 3). A bijection for every key, whatever the round function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.order.permutation import GOLDEN, mix64, permutation

ROUNDS = 6  # half-rounds; from 4,097 numbers on, no test of 400,000 keys tells them from more
SORTED_UP_TO = 4096  # below, a network of so few bits is uneven: 2 % at 5 numbers

Integers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


def shuffled(places: Integers, count: int, key: int) -> Integers:
    """Return the elements at some places of the permutation of `count` numbers that `key` selects.

    Args:
        places: Any of 0 .. count - 1, in any order.
        count: Size of the permutation.
        key: From `derive_key`.

    Costs about 0.1 us a place in arrays of thousands; memory is that of `places`.
    """
    if count <= SORTED_UP_TO:
        return permutation(count, key)[places]
    return _walk(places.astype(np.uint64), np.uint64(count), np.uint64(key), (count - 1).bit_length())


def shuffled_within(group: Integers, places: Integers, counts: Integers, keys: Words) -> Integers:
    """Return the elements at some places of many permutations at once.

    Args:
        group: (n) the permutation that is asked for each place.
        places: (n) the places.
        counts, keys: (g) size and key of each permutation.
    """
    found = np.empty_like(places)
    seen = np.zeros(len(counts), bool)
    seen[group] = True
    groups = np.flatnonzero(seen)
    small = counts[groups] <= SORTED_UP_TO
    for g in groups[small].tolist():
        mine = np.flatnonzero(group == g)
        found[mine] = permutation(int(counts[g]), int(keys[g]))[places[mine]]
    groups = groups[~small]
    if len(groups) == 1 and not small.any():  # the usual case, at two thirds of the cost
        return shuffled(places, int(counts[groups[0]]), int(keys[groups[0]]))
    if len(groups):
        mine = np.flatnonzero(counts[group] > SORTED_UP_TO)
        sizes = counts[group[mine]]
        bits = np.zeros(len(counts), np.int64)
        bits[groups] = [(count - 1).bit_length() for count in counts[groups].tolist()]
        parameters = (keys[group[mine]], bits[group[mine]])
        found[mine] = _walk(places[mine].astype(np.uint64), sizes.astype(np.uint64), *parameters)
    return found


def _walk(values: Words, count: Any, key: Any, bits: Any) -> Integers:
    """Send values through their networks until all are below their count; parameters for all or for each."""
    values = _network(values, key, bits)
    outside = np.flatnonzero(values >= count)
    while len(outside):
        key_, bits_, count_ = (x[outside] if isinstance(x, np.ndarray) else x for x in (key, bits, count))
        values[outside] = again = _network(values[outside], key_, bits_)
        outside = outside[again >= count_]
    return values.astype(np.int64)


def _network(values: Words, key: Any, bits: Any) -> Words:
    """Permute the numbers below 2^bits. The two halves take turns, each xored with a mix of the other."""
    low_bits = np.asarray(bits // 2).astype(np.uint64)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.asarray(bits).astype(np.uint64) - low_bits) - np.uint64(1)
    low, high = values & low_mask, values >> low_bits
    with np.errstate(over="ignore"):  # a single key wraps like an array of them, which says nothing
        for i in range(1, ROUNDS + 1, 2):
            high ^= mix64(low + (key + np.uint64(i * GOLDEN % 2**64))) & high_mask
            low ^= mix64(high + (key + np.uint64((i + 1) * GOLDEN % 2**64))) & low_mask
    return high << low_bits | low

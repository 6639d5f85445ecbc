"""Single elements of a permutation of 0 .. count - 1, in constant memory (SPEC 7.2).

Small permutations are sorted (`permutation`), and exactly as even as the mixer. Large ones use a
Feistel network over the smallest power of two that is at least `count`, with cycle walking: a value
outside the range goes through the network again until it is inside (Black and Rogaway 2002, "Ciphers
with Arbitrary Finite Domains", section 3). That is a bijection for every key and round function.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.order.permutation import GOLDEN, mix64, permutation
from shardpack.runtime.arrays import Integers

ROUNDS = 6  # half-rounds; for 4,097 numbers and more, tests of 400,000 keys find no difference to more rounds
SORTED_UP_TO = 4096  # a network of fewer bits is uneven: by 2 % for 5 numbers

Words = npt.NDArray[np.uint64]


def shuffled(slots: Integers, count: int, key: int) -> Integers:
    """Return the elements at some slots of the permutation of `count` numbers that `key` selects.

    Args:
        slots: Numbers from 0 to count - 1, in any order.
        count: Size of the permutation.
        key: A result of `derive_key`.

    Takes about 0.1 us per slot in arrays of thousands; memory is that of `slots`.
    """
    if count <= SORTED_UP_TO:
        return permutation(count, key)[slots]
    return _walk(slots.astype(np.uint64), np.uint64(count), np.uint64(key), (count - 1).bit_length())


def walked(slots: Integers, counts: Integers, keys: Words) -> Integers:
    """Return the elements at (n) slots of (n) permutations, each of its own count and key, by the network alone.

    For short permutations, not all orders are equally likely. Takes about 0.2 us per slot.
    """
    bits = np.frexp(counts - 1)[1].astype(np.int64)  # the length in binary, exact below 2^53
    return _walk(slots.astype(np.uint64), counts.astype(np.uint64), keys, bits)


class SortedPermutations:
    """Cache of small permutations, up to `max_numbers` numbers in total. Thread-safe."""

    def __init__(self, max_numbers: int = 1 << 21) -> None:
        self._max_numbers, self._numbers = max_numbers, 0
        self._kept: dict[int, Integers] = {}

    def get(self, count: int, key: int) -> Integers:
        """Return `permutation(count, key)`."""
        order = self._kept.get(key)
        if order is None or len(order) != count:
            if self._numbers > self._max_numbers:
                self._kept, self._numbers = {}, 0
            order = self._kept[key] = permutation(count, key)
            self._numbers += count
        return order


def shuffled_within(
    group: Integers, slots: Integers, counts: Integers, keys: Words, known: SortedPermutations
) -> Integers:
    """Return the elements at some slots of many permutations at once.

    Args:
        group: (n) permutation of each slot, an index into `counts` and `keys`.
        slots: (n) the slots.
        counts, keys: (g) size and key of each permutation.
        known: Cache of small permutations.
    """
    if len(group) and (group == group[0]).all():  # the usual case of one partition
        count, key = int(counts[group[0]]), int(keys[group[0]])
        return known.get(count, key)[slots] if count <= SORTED_UP_TO else shuffled(slots, count, key)
    elements = np.empty_like(slots)
    small = counts[group] <= SORTED_UP_TO
    order = np.argsort(group, kind="stable")
    order = order[small[order]]
    edges = [*np.flatnonzero(np.diff(group[order], prepend=-1)).tolist(), len(order)]
    for begin, end in pairwise(edges):
        mine = order[begin:end]
        g = int(group[mine[0]])
        elements[mine] = known.get(int(counts[g]), int(keys[g]))[slots[mine]]
    large = np.flatnonzero(~small)
    if len(large):
        used, which = np.unique(group[large], return_inverse=True)
        bits = np.array([(count - 1).bit_length() for count in counts[used].tolist()], np.int64)[which.reshape(-1)]
        sizes = counts[group[large]].astype(np.uint64)
        elements[large] = _walk(slots[large].astype(np.uint64), sizes, keys[group[large]], bits)
    return elements


def _walk(values: Words, count: Any, key: Any, bits: Any) -> Integers:
    """Send values through their networks until each is below its count; parameters are scalars or arrays."""
    values = _network(values, key, bits)
    outside = np.flatnonzero(values >= count)
    while len(outside):
        key_, bits_, count_ = (x[outside] if isinstance(x, np.ndarray) else x for x in (key, bits, count))
        values[outside] = again = _network(values[outside], key_, bits_)
        outside = outside[again >= count_]
    return values.astype(np.int64)


def _network(values: Words, key: Any, bits: Any) -> Words:
    """Permute the numbers below 2^bits: in turns, each half is xored with a mix of the other half."""
    low_bits = np.asarray(bits // 2).astype(np.uint64)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.asarray(bits).astype(np.uint64) - low_bits) - np.uint64(1)
    low, high = values & low_mask, values >> low_bits
    with np.errstate(over="ignore"):  # scalars warn when they wrap, arrays do not
        for i in range(1, ROUNDS + 1, 2):
            high ^= mix64(low + (key + np.uint64(i * GOLDEN % 2**64))) & high_mask
            low ^= mix64(high + (key + np.uint64((i + 1) * GOLDEN % 2**64))) & low_mask
    return high << low_bits | low

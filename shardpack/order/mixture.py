"""The dataset of the n-th sample of a mix: integer arithmetic, O(1) in n (SPEC 7.6).

A binary tree of forks has the datasets as its leaves, the lightest deepest (built like a Huffman code). A fork
sends its m-th item to the left if floor(ratio * m + phase) increases there, else to the right: the most even
sequence of two (Bresenham). So every stretch of the mix has the right shares, to within one item for two
datasets and two or three items for many.

    weights a 4, b 2, c 1       root   left: fork of c and b, 3/7; right: a       a . a a . a .
                                fork   left: c, 1/3; right: b                       c     b   b

Phases are spread evenly over the partitions, so that what all ranks take at one moment is mixed as well.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from shardpack.errors import OptionError
from shardpack.order.permutation import MIX_PHASE, derive_key, permutation
from shardpack.runtime.arrays import Integers

SMALLEST_SHARE = 1e-6
LONGEST = 1 << 60  # items per partition

_BITS = 32  # precision of shares, ratios and phases
ONE = 1 << _BITS  # a share of the whole mix


def shares(weights: Sequence[float]) -> tuple[int, ...]:
    """Return each weight's share of the sum in units of 2^-32, rounded to the nearest, halves to even.

    Computed exactly from the values of the floats.

    Raises:
        OptionError: No weights are given, or one is not a positive number, or is less than a millionth of the sum.
    """
    if not weights:
        raise OptionError("nothing to mix; give at least one dataset")
    for number, weight in enumerate(weights):
        if not isinstance(weight, (int, float, np.integer, np.floating)) or isinstance(weight, bool):
            raise OptionError(f"weight of dataset {number} is {weight!r}, expected a number")
        if not 0 < weight < math.inf:
            raise OptionError(f"weight of dataset {number} is {weight!r}, expected more than 0; leave it out instead")
    exact = [Fraction(weight.item() if isinstance(weight, np.generic) else weight) for weight in weights]
    total = sum(exact)
    if min(exact) < SMALLEST_SHARE * total:
        number = exact.index(min(exact))
        raise OptionError(f"weight of dataset {number} is less than a millionth of all; leave it out instead")
    return tuple(round(ONE * weight / total) for weight in exact)


class Schedule:
    """The endless sequence of sources in every partition. Immutable and thread-safe.

    Construction takes O(partitions * datasets) time and memory.
    """

    def __init__(self, weights: Sequence[int], *, seed: int, partitions: int) -> None:
        """Create the schedule of weights that `shares` returned."""
        self.num_sources = len(weights)
        self._partitions = np.arange(partitions)
        # Forks are numbered in the order of creation, so the last one is the root; source k has the number ~k.
        branches = [(weight, number, ~number) for number, weight in enumerate(weights)]
        heapq.heapify(branches)
        children: list[tuple[int, int]] = []
        ratios: list[int] = []
        depths = {~number: 0 for number in range(len(weights))}
        while len(branches) > 1:
            (left, _, first), (right, _, second) = heapq.heappop(branches), heapq.heappop(branches)
            fork = len(children)
            children.append((first, second))
            ratios.append((2 * ONE * left + left + right) // (2 * (left + right)))  # to the nearest, halves up
            depths[fork] = 1 + max(depths[first], depths[second])
            heapq.heappush(branches, (left + right, len(weights) + fork, fork))
        self._children = np.array(children, np.int64).reshape(-1, 2)
        self._ratio = np.array(ratios, np.uint64)
        self._root = branches[0][2]
        self._depth = depths[self._root]
        self._phase = np.empty((len(children), partitions), np.uint64)  # (forks, partitions), in units of 2^-32
        for fork in range(len(children)):
            key = derive_key(MIX_PHASE, seed, fork)
            spread = permutation(partitions, key).astype(np.uint64) << np.uint64(_BITS)
            self._phase[fork] = (spread + np.uint64(key >> _BITS)) // np.uint64(partitions)

    def items(self, partition: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Return (n) the sources, and (n) numbers within them, of the items at (n) offsets in (n) partitions."""
        fork, number = np.full(len(offset), self._root), offset.astype(np.int64)
        for _ in range(self._depth):
            at = np.flatnonzero(fork >= 0)
            here, count, part = fork[at], number[at], partition[at]
            before = self._left(here, part, count)
            goes_left = self._left(here, part, count + 1) > before
            number[at] = np.where(goes_left, before, count - before)
            fork[at] = self._children[here, np.where(goes_left, 0, 1)]
        return ~fork, number

    def counts(self, end: Integers | int) -> Integers:
        """Return (p, k) how many items before `end`, a number or (p) numbers, of a partition are from each source."""
        counts = np.empty((len(self._partitions), self.num_sources), np.int64)
        waiting = [(self._root, np.zeros_like(self._partitions) + end)]
        while waiting:
            fork, count = waiting.pop()
            if fork < 0:
                counts[:, ~fork] = count
                continue
            left = self._left(np.full(len(count), fork), self._partitions, count)
            waiting += zip(self._children[fork].tolist(), (left, count - left), strict=True)
        return counts

    def offsets(self, source: int, numbers: Integers) -> list[int]:
        """Return (p) the offset in each partition of one source's item, given (p) its number in each partition."""
        offset = numbers.astype(object)  # Python integers do not overflow
        branch = ~source
        while branch != self._root:
            ((fork, side),) = np.argwhere(self._children == branch).tolist()
            ratio, phase = int(self._ratio[fork]), self._phase[fork].astype(object)
            if side:  # the items that go right form the even sequence of the other ratio
                ratio, phase = ONE - ratio, ONE - 1 - phase
            offset = -(-((offset + 1) * ONE - phase) // ratio) - 1  # the first at which the count exceeds it
            branch = fork
        return [int(number) for number in offset]

    def _left(self, fork: Integers, partition: Integers, count: Integers) -> Integers:
        """Return (n) how many of the first `count` items of a fork go left: (ratio * count + phase) >> 32."""
        whole, rest = count >> _BITS, (count & (ONE - 1)).astype(np.uint64)
        ratio = self._ratio[fork]
        part = (ratio * rest + self._phase[fork, partition]) >> np.uint64(_BITS)  # below 2^64: ratio < 2^32
        return ratio.astype(np.int64) * whole + part.astype(np.int64)


def length_until(schedule: Schedule, stop: str, lengths: Integers) -> int:
    """Return how many items each partition has when a stop rule ends the epoch.

    Args:
        schedule: Schedule of the mix.
        stop: "first" ends the epoch before a source would repeat in any partition; "all" ends it once
            every source was read completely in every partition.
        lengths: (p, k) number of items of each source in each partition.

    Raises:
        OptionError: The epoch would be longer than 64-bit integers allow.
    """
    if stop == "all":
        length = max(max(schedule.offsets(k, column - 1)) for k, column in enumerate(lengths.T)) + 1
    else:
        length = min(min(schedule.offsets(k, column)) for k, column in enumerate(lengths.T))
    check_mix_length(length)
    return length


def check_mix_length(length: int) -> None:
    """Raise OptionError if a partition would be longer than 64-bit integers allow."""
    if length > LONGEST:
        raise OptionError(
            f"mix would last {length} samples per partition; choose more even weights, or an earlier epoch"
        )

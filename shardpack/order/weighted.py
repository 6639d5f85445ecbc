"""Weighted orders: each sample as often as its own weight says, in a true shuffle (SPEC 7.7).

    slot --shuffle--> draw --the line of all weights, cut into as many equal parts as there are slots--> sample

So every sample comes as often as its share of an epoch, rounded up or down, and the shift of the line changes from
epoch to epoch so that each is rounded up as often as its share says.

The line is the weights themselves, and the sum before each block of 16 of them: a point is found by bisection of the
sums, then within the block. Shapes in comments: i items, b blocks of items, n draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64

from shardpack.errors import OptionError
from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import DRAW_ORDER, derive_key
from shardpack.order.quotas import MAX_SLOTS, golden_step
from shardpack.order.shuffled import shuffled
from shardpack.order.view import SampleView
from shardpack.runtime.arrays import Integers

_LARGEST = 1 << 30  # the largest weight, as an integer: weights that are no integers, or larger ones, are scaled to it
_PIECE = 1 << 16  # weights at once: so few that they stay in the processor's caches
_BLOCK = 16  # weights under one sum


class SampleOrders:
    """The epochs of samples in proportion to their weights. Immutable and thread-safe.

    Keeps the weights as they are given, perhaps in a map, and half a byte for each of them.

    Attributes:
        num_slots: Slots of an epoch.
    """

    def __init__(self, view: SampleView, weights: npt.NDArray[np.float64], *, num_slots: int, seed: int) -> None:
        """Create the epochs of the items of a view, with (i) a weight for each: finite, not negative.

        Raises:
            OptionError: All weights are 0, or an epoch would be too long.
        """
        if num_slots > MAX_SLOTS or len(weights) > MAX_SLOTS:
            raise OptionError(f"an epoch of {num_slots} samples, expected at most {MAX_SLOTS}; give num_samples")
        self._weights, self._largest = weights, float(weights.max(initial=0))
        if not self._largest:
            raise OptionError("all weights are 0; give at least one sample more")
        self._whole = self._largest <= _LARGEST and all(bool((np.rint(some) == some).all()) for some in self._pieces())
        self._edges = np.zeros(-(-len(weights) // _BLOCK) + 1, np.int64)  # (b + 1) of the blocks on the line
        filled = 1
        for some in self._pieces():
            sums = np.add.reduceat(self._integers(some), np.arange(0, len(some), _BLOCK))
            self._edges[filled : filled + len(sums)] = sums
            filled += len(sums)
        np.cumsum(self._edges, out=self._edges)
        self._total = int(self._edges[-1])
        self._view, self.num_slots, self.seed = view, num_slots, seed
        self._step = golden_step(self._total)

    def order(self, partitioning: Partitioning, epoch: int) -> SampleOrder:
        """Return the order of one epoch."""
        key = derive_key(DRAW_ORDER, self.seed, epoch)
        return SampleOrder(self, partitioning, key, epoch * self._step % self._total)

    def times(self, epoch: int) -> Integers:
        """Return (i) how often each item comes in an epoch."""
        shift = epoch * self._step % self._total
        times = np.zeros(len(self._weights), np.int64)
        for begin in range(0, self.num_slots, _PIECE):
            points = self._points(np.arange(begin, min(begin + _PIECE, self.num_slots)), shift)
            np.add.at(times, self._at(points)[0], 1)
        return times

    def samples(self, draws: Integers, shift: int) -> tuple[Integers, Integers]:
        """Return (n) the stored positions of (n) draws, and (n) repeats; see `DrawnOrder`."""
        item, begin = self._at(self._points(draws, shift))
        near = (begin * (self.num_slots / self._total)).astype(np.int64)  # the first draw of the item, or one beside it
        first = near - 1 + sum((self._points(near + less, shift) < begin).astype(np.int64) for less in (-1, 0))
        repeats, own = draws - first, self._view.repeats(item)
        return self._view.at(item), repeats if own is None else repeats * self._view.most_times + own

    def _at(self, points: Integers) -> tuple[Integers, Integers]:
        """Return (n) the items that (n) points of the line are in, and (n) where their parts begin."""
        order = np.argsort(points)  # ascending ones are found in half the time: neighbours share what is in the caches
        ascending = points[order]
        block = np.searchsorted(self._edges, ascending, side="right") - 1
        begin = self._edges[block]
        # (n, 16); clip: what is repeated in a last, short block is behind all points
        weights = self._integers(self._weights.take(block[:, None] * _BLOCK + np.arange(_BLOCK), mode="clip"))
        ends = np.cumsum(weights, axis=1)
        within = (ends <= (ascending - begin)[:, None]).sum(axis=1)
        ends -= weights  # they are begins now
        found = np.empty((2, len(points)), np.int64)
        found[:, order] = block * _BLOCK + within, begin + ends[np.arange(len(within)), within]
        return found[0], found[1]

    def _points(self, draws: Integers, shift: int) -> Integers:
        """Return (n) where on the line (n) draws are."""
        whole, rest = divmod(self._total, self.num_slots)
        return (draws + 1) * whole + ((draws + 1) * rest - shift - 1) // self.num_slots

    def _integers(self, weights: npt.NDArray[np.float64]) -> Integers:
        """Return weights as the integers of SPEC 7.7."""
        return (weights if self._whole else np.rint(weights / self._largest * _LARGEST)).astype(np.int64)

    def _pieces(self) -> Iterator[npt.NDArray[np.float64]]:
        """Yield all weights, some at a time."""
        for begin in range(0, len(self._weights), _PIECE):
            yield self._weights[begin : begin + _PIECE]

    @cached_property
    def digest(self) -> str:
        """Hash of the weights as integers (SPEC 7.7)."""
        hashed, reached = xxh3_64(), 0
        for some in self._pieces():
            ends = reached + np.cumsum(self._integers(some))
            hashed.update(ends.astype("<i8").tobytes())
            reached = int(ends[-1])
        return hashed.hexdigest()


class SampleOrder:
    """One epoch. Immutable and thread-safe."""

    def __init__(self, orders: SampleOrders, partitioning: Partitioning, key: int, shift: int) -> None:
        self._orders, self._partitioning, self._key, self._shift = orders, partitioning, key, shift

    def samples(self, partition: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Return (n) the stored positions at (n) offsets in (n) partitions, and (n) repeats; see `DrawnOrder`."""
        draws = shuffled(self._partitioning.slots(partition, offset), self._orders.num_slots, self._key)
        return self._orders.samples(draws, self._shift)

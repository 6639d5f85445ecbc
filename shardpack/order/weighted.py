"""Weighted orders: each sample as often as its own weight says, in a true shuffle (SPEC 7.7).

    slot --shuffle--> draw --the line of all weights, cut into as many equal parts as there are slots--> sample

So every sample comes as often as its share of an epoch, rounded up or down, and the shift of the line changes from
epoch to epoch so that each is rounded up as often as its share says.

The line is kept as the weights themselves, 1, 2 or 4 bytes each, and the sum before each 32 of them: a point is found
by bisection of the sums, then within the 32. Shapes in comments: i items, b blocks of items, n draws.
"""

from __future__ import annotations

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
_BLOCK = 32  # weights under one sum


class SampleOrders:
    """The epochs of samples in proportion to their weights. Immutable and thread-safe; 5 bytes for each sample at most.

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
        largest = float(weights.max(initial=0))
        if not largest:
            raise OptionError("all weights are 0; give at least one sample more")
        pieces = [slice(begin, begin + _PIECE) for begin in range(0, len(weights), _PIECE)]
        whole = largest <= _LARGEST and all(bool((np.rint(weights[at]) == weights[at]).all()) for at in pieces)
        width = np.min_scalar_type(int(largest) if whole else _LARGEST)
        self._weights = np.zeros((-(-len(weights) // _BLOCK), _BLOCK), width)  # (b, 32)
        self._num_items = len(weights)
        integers = self._weights.reshape(-1)[: len(weights)]
        for at in pieces:
            integers[at] = weights[at] if whole else np.rint(weights[at] / largest * _LARGEST)
        sums = np.cumsum(self._weights.sum(axis=1, dtype=np.int64))
        self._before = np.concatenate(([0], sums[:-1]))  # (b) where the part of each block begins on the line
        self._view, self.num_slots, self.seed = view, num_slots, seed
        self._total = int(sums[-1])
        self._step = golden_step(self._total)

    def order(self, partitioning: Partitioning, epoch: int) -> SampleOrder:
        """Return the order of one epoch."""
        key = derive_key(DRAW_ORDER, self.seed, epoch)
        return SampleOrder(self, partitioning, key, epoch * self._step % self._total)

    def times(self, epoch: int) -> Integers:
        """Return (i) how often each item comes in an epoch."""
        shift = epoch * self._step % self._total
        times = np.zeros(self._num_items, np.int64)
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
        block = np.searchsorted(self._before, points, side="right") - 1
        ends = np.cumsum(self._weights[block], axis=1, dtype=np.int64)  # (n, 32) within the block
        within = (ends <= (points - self._before[block])[:, None]).sum(axis=1)
        ends -= self._weights[block]  # they are begins now
        return block * _BLOCK + within, self._before[block] + ends[np.arange(len(within)), within]

    def _points(self, draws: Integers, shift: int) -> Integers:
        """Return (n) where on the line (n) draws are."""
        whole, rest = divmod(self._total, self.num_slots)
        return (draws + 1) * whole + ((draws + 1) * rest - shift - 1) // self.num_slots

    @cached_property
    def digest(self) -> str:
        """Hash of the weights as integers (SPEC 7.7)."""
        hashed, integers, reached = xxh3_64(), self._weights.reshape(-1)[: self._num_items], 0
        for begin in range(0, len(integers), _PIECE):
            ends = reached + np.cumsum(integers[begin : begin + _PIECE], dtype=np.int64)
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

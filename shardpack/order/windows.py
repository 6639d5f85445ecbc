"""Windows: runs of blocks whose items are shuffled among themselves (SPEC 7.3).

Three partitions, windows of two blocks; a cut may split a block, so that it is of two windows:

    blocks, in the epoch's order   |   |     |  |    |   |    |   |  |     |
    partitions (3)                 |              |              |         |
    windows (2 blocks each)        |         |    |       |      |  |      |
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import WINDOW_ORDER, derive_key, extend_keys
from shardpack.order.shuffled import shuffled_within

Integers = npt.NDArray[np.int64]


class Windows:
    """The windows of an epoch, ascending; those of a partition are counted from the block that holds its start.

    Immutable, safe in threads. Costs O(windows) time and memory.
    """

    def __init__(self, ends: Integers, deal: Partitioning, window_blocks: int, seed: int, epoch: int) -> None:
        self._window_blocks = min(window_blocks, len(ends) + 1)
        parts = np.arange(deal.partitions if deal.shortest else 0)  # of one item at most, there is nothing to mix
        zeros = np.zeros(len(parts), np.int64)
        start, self._stop = deal.places(parts, zeros), deal.places(parts + 1, zeros)
        first_block = np.searchsorted(ends, start, side="right")
        self._last_block = np.searchsorted(ends, self._stop, side="left")
        windows = (self._last_block - first_block) // self._window_blocks + 1
        last = np.cumsum(windows) - 1
        owner = np.repeat(parts, windows)
        number = np.arange(len(owner)) - np.repeat(last + 1 - windows, windows)
        self._block = first_block[owner] + number * self._window_blocks
        self._first = np.where(number == 0, start[owner], ends[self._block - 1])
        stop = np.append(self._first[1:], deal.num_items)
        stop[last] = start + deal.length(0) if deal.tail != "exact" else self._stop
        self._count = stop - self._first
        self._key = extend_keys(extend_keys(derive_key(WINDOW_ORDER, seed, epoch), owner), number)

    def mix(self, partition: Integers, place: Integers) -> Integers:
        """Return the places whose items come at some places: a permutation of each window."""
        if not len(self._first):
            return place
        window = self._at(partition, place)
        first = self._first[window]
        return first + shuffled_within(window, place - first, self._count, self._key)

    def blocks_wanted(self, partition: Integers, place: Integers) -> tuple[Integers, Integers]:
        """Return which blocks should be under way when a place is reached: (begin, end), in this epoch's order.

        Those of its window, and as much of the next as the place is far into its own.
        """
        if not len(self._first):
            return np.zeros_like(place), np.zeros_like(place)
        window = self._at(partition, place)
        begin = self._block[window]
        part = (place - self._first[window] + 1) * self._window_blocks // np.maximum(1, self._count[window])
        end = begin + self._window_blocks + part
        return begin, np.minimum(end, self._last_block[partition] + 1)

    def _at(self, partition: Integers, place: Integers) -> Integers:
        """Return the window of places; an item of padding is of the last one of its partition."""
        inside = np.minimum(place, self._stop[partition] - 1)
        return np.searchsorted(self._first, inside, side="right") - 1

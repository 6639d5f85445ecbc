"""Windows: runs of blocks whose items are shuffled among themselves (SPEC 7.3).

Two partitions, windows of two blocks; a cut may split a block, so that it is of two windows, and the last
window of a partition takes in what would be too short by itself:

    blocks, in the epoch's order   |   |     |  |    |      |      |   |  |     |
    partitions (2)                 |                     |                      |
    windows (2 blocks at least)    |         |           |         |            |
"""

from __future__ import annotations

import numpy as np

from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import WINDOW_ORDER, derive_key, extend_keys
from shardpack.order.shuffled import SortedPermutations, shuffled_within
from shardpack.runtime.arrays import Integers


class Windows:
    """The windows of an epoch, ascending; those of a partition are counted from the block that holds its start.

    Immutable, safe in threads. Costs O(windows) time and memory.

    Attributes:
        hold_everything: Whether as many blocks are mixed at a time as there are.
    """

    def __init__(self, ends: Integers, partitioning: Partitioning, window_blocks: int, seed: int, epoch: int) -> None:
        """Take the slots at which blocks end, and how many blocks are mixed over all partitions."""
        each = -(-window_blocks // partitioning.partitions)
        self.hold_everything = len(ends) <= each * partitioning.partitions
        self._window_blocks = min(each, len(ends) + 1)
        count = partitioning.partitions if partitioning.shortest else 0  # of one item there is nothing to mix
        edges = partitioning.slots(np.arange(count + 1), np.zeros(count + 1, np.int64))
        start, stop = edges[:-1], edges[1:]
        first_block = np.searchsorted(ends, start, side="right")
        self._last_block = np.searchsorted(ends, stop, side="left")
        windows = np.maximum(1, (self._last_block + 1 - first_block) // self._window_blocks)
        owner = np.repeat(np.arange(count), windows)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(windows) - windows, windows)
        self._block = first_block[owner] + number * self._window_blocks
        self._stop_block = np.append(self._block[1:], 0)[: len(owner)]
        self._stop_block[np.cumsum(windows) - 1] = self._last_block + 1
        self._first = np.where(number == 0, start[owner], ends[self._block - 1])
        self._count = np.append(self._first[1:], partitioning.num_items)[: len(self._first)] - self._first
        self._sorted = SortedPermutations()
        self._key = extend_keys(extend_keys(derive_key(WINDOW_ORDER, seed, epoch), owner), number)

    def mix(self, slot: Integers) -> Integers:
        """Return the slots whose items come at some slots: a permutation of each window."""
        if not len(self._first):
            return slot
        window = self._at(slot)
        first = self._first[window]
        return first + shuffled_within(window, slot - first, self._count, self._key, self._sorted)

    def blocks_wanted(self, partition: Integers, slot: Integers) -> tuple[Integers, Integers]:
        """Return which blocks should be under way when a slot is reached: (begin, end), in this epoch's order.

        Those of its window, and as much of the next as the slot is far into its own.
        """
        if not len(self._first):
            return np.zeros_like(slot), np.zeros_like(slot)
        window = self._at(slot)
        begin, end = self._block[window], self._stop_block[window]
        part = (slot - self._first[window] + 1) * self._window_blocks // np.maximum(1, self._count[window])
        return begin, np.minimum(end + part, self._last_block[partition] + 1)

    def _at(self, slot: Integers) -> Integers:
        """Return the windows of slots."""
        return np.searchsorted(self._first, slot, side="right") - 1

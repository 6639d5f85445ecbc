"""Windows: runs of blocks whose items are shuffled among themselves (SPEC 7.3).

Two partitions with windows of two blocks. A partition may begin inside a block, which is then in two windows;
the last window of a partition includes the blocks that would be too few for a window of their own:

    blocks, in the epoch's order   |   |     |  |    |      |      |   |  |     |
    partitions (2)                 |                     |                      |
    windows (at least 2 blocks)    |         |           |         |            |

Shapes in comments: p partitions, w windows of all partitions, b blocks, n slots asked for.
"""

from __future__ import annotations

import numpy as np

from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import WINDOW_ORDER, derive_key, extend_keys
from shardpack.order.shuffled import SortedPermutations, shuffled_within
from shardpack.runtime.arrays import Integers


class Windows:
    """The windows of an epoch, ascending; each partition begins with a new window.

    Immutable and thread-safe. Takes time and memory in proportion to the windows.

    Attributes:
        hold_everything: Whether one window per partition holds all blocks.
    """

    def __init__(self, ends: Integers, partitioning: Partitioning, window_blocks: int, seed: int, epoch: int) -> None:
        """Divide blocks into windows.

        Args:
            ends: (b) slot at which each block ends.
            partitioning: Divides the slots.
            window_blocks: How many blocks are mixed at a time, over all partitions.
            seed: Seed of the epoch's order.
            epoch: Number of the epoch.
        """
        each = -(-window_blocks // partitioning.partitions)
        self.hold_everything = len(ends) <= each * partitioning.partitions
        self._window_blocks = min(each, len(ends) + 1)
        count = partitioning.partitions if partitioning.shortest else 0  # partitions of one item need no mixing
        edges = partitioning.slots(np.arange(count + 1), np.zeros(count + 1, np.int64))
        start, stop = edges[:-1], edges[1:]  # (p) slots of each partition
        first_block = np.searchsorted(ends, start, side="right")  # (p)
        self._last_block = np.searchsorted(ends, stop, side="left")  # (p)
        windows = np.maximum(1, (self._last_block + 1 - first_block) // self._window_blocks)  # (p) how many
        owner = np.repeat(np.arange(count), windows)  # (w) partition
        number = np.arange(len(owner)) - np.repeat(np.cumsum(windows) - windows, windows)  # (w) number in the partition
        self._block = first_block[owner] + number * self._window_blocks  # (w) first block
        self._stop_block = np.append(self._block[1:], 0)[: len(owner)]  # (w) the block after the last
        self._stop_block[np.cumsum(windows) - 1] = self._last_block + 1
        self._first = np.where(number == 0, start[owner], ends[self._block - 1])  # (w) first slot
        self._count = np.append(self._first[1:], partitioning.num_items)[: len(self._first)] - self._first  # (w) slots
        self._sorted = SortedPermutations()
        self._key = extend_keys(extend_keys(derive_key(WINDOW_ORDER, seed, epoch), owner), number)  # (w)

    def mix(self, slot: Integers) -> Integers:
        """Return (n) the slots, before mixing, of the items that (n) slots have: a permutation within each window."""
        if not len(self._first):
            return slot
        window = self._at(slot)
        first = self._first[window]
        return first + shuffled_within(window, slot - first, self._count, self._key, self._sorted)

    def blocks_wanted(self, partition: Integers, slot: Integers) -> tuple[Integers, Integers]:
        """Return (n) begin and (n) end of the blocks to have requested when a slot is reached.

        The slot's whole window, plus the share of the next window by which the slot has advanced in its own.
        Blocks are numbered in the order of the epoch.
        """
        if not len(self._first):
            return np.zeros_like(slot), np.zeros_like(slot)
        window = self._at(slot)
        begin, end = self._block[window], self._stop_block[window]
        part = (slot - self._first[window] + 1) * self._window_blocks // np.maximum(1, self._count[window])
        return begin, np.minimum(end + part, self._last_block[partition] + 1)

    def _at(self, slot: Integers) -> Integers:
        """Return (n) the windows of (n) slots."""
        return np.searchsorted(self._first, slot, side="right") - 1

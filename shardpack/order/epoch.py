"""The order of one epoch: from a slot to an item, by arithmetic (SPEC 7.3).

    "none"     the sequence as it is
    "shards"   segments permuted, items inside them in order
    "blocks"   blocks permuted, then the items of each window of blocks shuffled
    "global"   all items permuted, in constant memory

No state is replayed: the item of any slot costs a bisection over the blocks, wherever the slot is.
Shapes in comments: n slots asked for, b blocks of the epoch, p partitions asked for.
"""

from __future__ import annotations

import numpy as np

from shardpack.order.blocks import Blocks, Segments, cut_blocks, whole_segments
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import BLOCK_ORDER, GLOBAL_ORDER, SHARD_ORDER, derive_key, permutation
from shardpack.order.shuffled import shuffled
from shardpack.order.windows import Windows
from shardpack.runtime.arrays import Integers


class EpochOrder:
    """The items of one epoch, by slot. Immutable and thread-safe.

    Construction takes time and memory in proportion to the blocks; constant for "none" and "global".

    Attributes:
        windows: For "blocks", which blocks are mixed with each other; else None.
    """

    def __init__(self, segments: Segments | None, shuffle: Shuffle, partitioning: Partitioning, epoch: int) -> None:
        """Arrange an epoch. `segments` may be None unless `shuffle.moves_segments`."""
        self._partitioning = partitioning
        self._ends: Integers | None = None  # (b) slot at which each block ends
        self._global_key: int | None = None
        self.windows: Windows | None = None
        if shuffle.mode == "shards":
            assert segments is not None
            self._arrange(whole_segments(segments), derive_key(SHARD_ORDER, shuffle.seed, epoch))
        elif shuffle.mode == "blocks":
            assert segments is not None
            ends = self._arrange(
                cut_blocks(segments, shuffle.block_bytes), derive_key(BLOCK_ORDER, shuffle.seed, epoch)
            )
            self.windows = Windows(ends, partitioning, shuffle.window_blocks, shuffle.seed, epoch)
        elif shuffle.mode == "global":
            self._global_key = derive_key(GLOBAL_ORDER, shuffle.seed, epoch)

    def _arrange(self, blocks: Blocks, key: int) -> Integers:
        """Permute the blocks; return (b) the slot at which each ends."""
        order = permutation(len(blocks.first), key)
        ends = self._ends = np.cumsum(blocks.count[order])
        self._shift = blocks.first[order]  # (b) what to add to a slot of the block to get its item
        self._shift[1:] -= ends[:-1]
        return ends

    def items(self, partition: Integers, offset: Integers) -> Integers:
        """Return (n) the items at (n) offsets in (n) partitions."""
        slot = self._partitioning.slots(partition, offset)
        if self._global_key is not None:
            return shuffled(slot, self._partitioning.num_items, self._global_key)
        if self._ends is None:
            return slot
        if self.windows is not None:
            slot = self.windows.mix(slot)
        return slot + self._shift[np.searchsorted(self._ends, slot, side="right")]

    # Blocks, numbered in the order of the epoch

    @property
    def num_blocks(self) -> int:
        """Number of blocks: for "shards" the number of shards; 0 for "none" and "global"."""
        return 0 if self._ends is None else len(self._ends)

    def blocks_of(self, partition: Integers) -> tuple[Integers, Integers]:
        """Return (p) the first and (p) the last block of partitions that are not empty, partial blocks included."""
        assert self._ends is not None
        start, stop = (self._partitioning.slots(part, np.zeros_like(part)) for part in (partition, partition + 1))
        return np.searchsorted(self._ends, start, side="right"), np.searchsorted(self._ends, stop - 1, side="right")

    def items_in_blocks(
        self, partition: Integers, offset: Integers, *, whole: bool = False
    ) -> tuple[Integers, Integers, Integers]:
        """Return (n) the items at (n) offsets in (n) partitions, (n) their blocks, (n) the first items of those.

        With `whole`, a block begins with its own first item; else with its first item in the partition.
        """
        assert self._ends is not None
        assert self.windows is not None
        slot = self.windows.mix(self._partitioning.slots(partition, offset))
        block = np.searchsorted(self._ends, slot, side="right")
        first = np.where(block > 0, self._ends[block - 1], 0)  # (n) slot at which the block begins
        if not whole:
            first = np.maximum(first, self._partitioning.slots(partition, np.zeros_like(partition)))
        shift = self._shift[block]
        return slot + shift, block, first + shift

    def whole_block(self, number: int) -> tuple[int, int]:
        """Return (first item, count) of a block."""
        assert self._ends is not None
        begin, end = int(self._ends[number - 1]) if number else 0, int(self._ends[number])
        return begin + int(self._shift[number]), end - begin

    def block_items(self, partition: int, begin: int, end: int) -> list[tuple[int, int]]:
        """Return (first item, count) of each part that a partition has of the blocks begin to end - 1."""
        assert self._ends is not None
        # Arrays of shape (end - begin), one entry per block.
        first = self._ends[max(0, begin - 1) : end - 1]  # slot at which the block begins
        first = np.insert(first, 0, 0) if begin == 0 else first
        start, stop = self._partitioning.start(partition), self._partitioning.start(partition + 1)
        slot = np.maximum(first, start)
        count = np.minimum(self._ends[begin:end], stop) - slot
        items = slot + self._shift[begin:end]
        return [pair for pair in zip(items.tolist(), count.tolist(), strict=True) if pair[1] > 0]

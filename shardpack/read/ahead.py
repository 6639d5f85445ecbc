"""Read-ahead of a stream: tell the store, block by block, what will be wanted soon."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.plan.epoch import EpochOrder
from shardpack.read.shards import Shards


class ReadAhead:
    """Announce blocks before their samples are read: those of the current window, then the next one's.

    The next window is announced at the pace at which the current one is used up, so reading is
    even. Costs a system call a block, and none where nothing is shuffled by blocks.
    """

    def __init__(self, shards: Shards, positions: npt.NDArray[np.int64] | None, order: EpochOrder) -> None:
        self._shards, self._positions, self._order = shards, positions, order
        self._announced: dict[int, int] = {}  # partition -> blocks announced, as a number in the epoch's order

    def announce(self, partition: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> None:
        """Announce what follows the places about to be read."""
        if not self._order.has_blocks:
            return
        for p in np.unique(partition).tolist():
            reached = int(offset[partition == p].max())
            until = self._order.blocks_wanted(p, reached)
            begin = max(self._announced.get(p, 0), self._order.first_block(p, int(offset[partition == p].min())))
            for first, count in self._order.block_items(begin, until):
                self._announce_items(first, count)
            self._announced[p] = max(until, begin)

    def _announce_items(self, first: int, count: int) -> None:
        if self._positions is not None:
            first = int(self._positions[first])
        shard = self._shards.at(first)
        row = first - shard.first
        if self._positions is not None or row + count > shard.index.num_samples:
            return  # a view's block is no single range; its samples are announced when they are read
        start = int(shard.index.data_offset[row].min())
        end = int((shard.index.data_offset[row + count - 1] + shard.index.size[row + count - 1]).max())
        if not self._shards.store.is_cached(shard.path, start):
            self._shards.store.prefetch(shard.path, starts=[start], lengths=[end - start])

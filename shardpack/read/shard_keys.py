"""The keys of one shard, by position: what a sample keeps hold of instead of its shard."""

from __future__ import annotations

from typing import Any

import numpy as np

from shardpack.format.shard_index import ShardIndex


class ShardKeys:
    """Keys of one shard, in memory or in a map of its index. Safe in threads; never reads and never fails."""

    __slots__ = ("_ends", "_first", "_heap")

    def __init__(self, index: ShardIndex, first: int) -> None:
        self._first = first
        # Views for scalar access: 35 ns an item, a third of what numpy takes.
        self._ends: Any = memoryview(index.key_offset)
        self._heap: Any = memoryview(index.key_heap)

    def key_at(self, position: int) -> bytes:
        """Return the key of a position of the dataset, which must be in this shard."""
        row, ends = position - self._first, self._ends
        return bytes(self._heap[ends[row] : ends[row + 1]])

    def text_at(self, position: int) -> str:
        """Return the key of a position of the dataset, as users see it."""
        return self.key_at(position).decode("utf-8", "surrogateescape")

    def detach(self) -> None:
        """Copy the keys out of the index, so that samples that are kept do not keep a map of it."""
        heap, ends = bytes(self._heap), np.array(self._ends)
        self._heap = heap  # first: offsets and bytes stay those of each other at any moment
        self._ends = memoryview(ends)

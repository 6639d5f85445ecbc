"""Which open shard holds a position: what the hot path of `ds[i]` asks."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers


@dataclass(frozen=True, eq=False)
class PositionTable:
    """The open shards by position. Replaced as a whole when a shard is opened or evicted; `exchange` changes one entry.

    Attributes:
        bounds: Ascending positions. The entry of position p has the number `bisect_right(bounds, p)`.
        mapped: (bounds + 1) The shard that cuts a sample from its map; None where `ShardCache.read` has to read it.
        shards: (bounds + 1) The open shards; None for positions of shards that are not open.
    """

    bounds: list[int]
    mapped: list[ShardReader | None]
    shards: list[ShardReader | None]

    def mapped_at(self, position: int) -> ShardReader | None:
        """Return the shard that cuts the sample at a position from its map, or None."""
        return self.mapped[bisect_right(self.bounds, position)]

    def shard_at(self, position: int) -> ShardReader | None:
        """Return the open shard that holds a position, or None."""
        return self.shards[bisect_right(self.bounds, position)]

    def find_mapped(self, positions: Integers) -> list[ShardReader | None]:
        """Return the entry of `mapped` for each of many positions."""
        numbers = self._bounds_array.searchsorted(positions, side="right")
        return list(map(self.mapped.__getitem__, numbers.tolist()))

    def groups(self, positions: Integers) -> list[tuple[ShardReader | None, Integers]]:
        """Return the entries of `mapped` that hold some of many positions, each with (k) which of these it holds."""
        numbers = self._bounds_array.searchsorted(positions, side="right")
        order = numbers.argsort(kind="stable")
        ascending = numbers[order]
        edges = [0, *(np.flatnonzero(ascending[1:] != ascending[:-1]) + 1).tolist(), len(order)]
        return [(self.mapped[ascending[begin]], order[begin:end]) for begin, end in pairwise(edges) if begin < end]

    @cached_property
    def _bounds_array(self) -> Integers:
        return np.array(self.bounds, np.int64)

    def with_shard(self, shard: ShardReader) -> PositionTable:
        """Return a table with one more shard, none of whose positions is in this table."""
        begin, end = shard.first, shard.first + len(shard)
        at = bisect_right(self.bounds, begin)
        before = begin > (self.bounds[at - 1] if at else 0)
        after = at == len(self.bounds) or end < self.bounds[at]
        bounds, mapped, shards = self.bounds[:], self.mapped[:], self.shards[:]
        bounds[at:at] = [begin] * before + [end] * after
        mapped[at : at + 1] = [None] * (before + 1 + after)
        shards[at : at + 1] = [*[None] * before, shard, *[None] * after]
        return PositionTable(bounds, mapped, shards)

    def without(self, shard: ShardReader) -> PositionTable:
        """Return a table with one shard less."""
        at = bisect_right(self.bounds, shard.first)
        first, last = at, at
        if at and self.shards[at - 1] is None:
            first -= 1
        if at + 1 < len(self.shards) and self.shards[at + 1] is None:
            last += 1
        bounds, mapped, shards = self.bounds[:], self.mapped[:], self.shards[:]
        del bounds[first:last]
        mapped[first : last + 1] = [None]
        shards[first : last + 1] = [None]
        return PositionTable(bounds, mapped, shards)

    def exchange(self, shard: ShardReader) -> None:
        """Replace an open shard by a copy of it with or without a map; readers of the old object may continue."""
        at = bisect_right(self.bounds, shard.first)
        self.shards[at] = shard
        self.mapped[at] = shard if shard.mapped is not None and shard.dense else None


class NoneMapped:
    """The table of what cuts no sample from one map: every sample is read."""

    def mapped_at(self, _: int) -> None:
        """Return None."""

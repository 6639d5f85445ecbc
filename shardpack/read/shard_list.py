"""The shards of a dataset as a lazy sequence, and which of them holds a position.

The only module of reading that knows how the manifest lists shards. A page of the shard table is read when one of
its shards is needed, so opening costs the same for any number of shards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np

from shardpack.errors import PositionError
from shardpack.format.manifest import Manifest
from shardpack.format.paged import SMALL_BYTES
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardColumns, ShardTable, TableSegmentReader
from shardpack.read.segment_file import SegmentFile, fetch_needed
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

MAX_INDEX_BYTES_AT_ONCE = 128 << 20  # indexes of shards that are opened together
_FLAT_SHARDS = 1 << 14  # up to so many shards of a local table, all first positions are kept: 0.2 MB, read in 2 ms


class ShardRun(NamedTuple):
    """Which of some ascending positions are in one shard: those from `begin` up to `end`."""

    number: int
    begin: int
    end: int


class ShardList(Sequence[ShardInfo]):
    """All shards of a dataset, in order; the object of a shard is created when it is asked for. Safe in threads."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.num_samples = manifest.num_samples
        self.num_bytes = manifest.num_bytes
        self._store, self._manifest = store, manifest
        self._files = [SegmentFile(store, segment) for segment in manifest.table_segments]
        self._table = ShardTable(
            [
                TableSegmentReader(file.load, segment, path=file.path, num_locations=len(manifest.locations))
                for file, segment in zip(self._files, manifest.table_segments, strict=True)
            ]
        )
        table_bytes = sum(segment.num_bytes for segment in manifest.table_segments)
        self._may_be_flat = table_bytes <= SMALL_BYTES or (not store.remote and len(self._table) <= _FLAT_SHARDS)
        self._starts: list[int] | None = None  # first position of each shard, and the total

    def __reduce__(self) -> tuple[Any, ...]:
        return (ShardList, (self._store, self._manifest))

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, number: int) -> ShardInfo: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[ShardInfo, ...]: ...

    def __getitem__(self, number: int | slice) -> ShardInfo | tuple[ShardInfo, ...]:
        if isinstance(number, slice):
            return tuple(self._table.shard(one) for one in range(*number.indices(len(self))))
        size = len(self)
        if not -size <= number < size:
            raise PositionError(
                f"shard {number} is out of range: there are {size}; count from 0, or from the end by -1 to {-size}"
            )
        return self._table.shard(number + size if number < 0 else number)

    def __iter__(self) -> Iterator[ShardInfo]:
        return iter(self._table)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (ShardList, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ShardList: {len(self)} shards>"

    # Positions

    def locate(self, position: int) -> int:
        """Return the number of the shard that holds a position."""
        starts = self._starts
        return self._table.locate(position) if starts is None else bisect_right(starts, position) - 1

    def locate_many(self, positions: Integers) -> Integers:
        """Return (n) the number of the shard that holds each position, in any order."""
        if self._may_be_flat or 8 * len(positions) > len(self):
            return np.searchsorted(self.columns.starts, positions, side="right") - 1
        self.prepare(positions)
        return np.array([self._table.locate(position) for position in positions.tolist()], np.int64)

    def first(self, number: int) -> int:
        """Return the position of a shard's first sample; for `len(self)`, the number of samples."""
        if self._starts is not None:
            return self._starts[number]
        return self.num_samples if number == len(self) else self._table.start(number)

    def prepare(self, positions: Integers) -> None:
        """Read what locating many positions needs: from a remote table, their pages, fetched together."""
        if not self._may_be_flat:
            fetch_needed(self._store, self._files, lambda: self._table.needed(positions), self._table.put)
        elif len(positions):
            self._keep_starts()

    def _keep_starts(self) -> None:
        if self._starts is None:
            self._starts = self.columns.starts.tolist()

    def runs(self, ascending: Integers) -> Iterator[ShardRun]:
        """Yield each run of ascending positions that are in one shard."""
        begin, total = 0, len(ascending)
        self.prepare(ascending)
        while begin < total:
            number = self.locate(int(ascending[begin]))
            end = int(np.searchsorted(ascending, self.first(number + 1)))
            yield ShardRun(number, begin, end)
            begin = end

    def groups(self, ascending: Integers) -> Iterator[list[ShardRun]]:
        """Yield lists of `runs`: those of shards that may be opened together, given the size of their indexes."""
        group: list[ShardRun] = []
        num_bytes = 0
        for run in self.runs(ascending):
            index_bytes = self[run.number].index_bytes
            if group and num_bytes + index_bytes > MAX_INDEX_BYTES_AT_ONCE:
                yield group
                group, num_bytes = [], 0
            group.append(run)
            num_bytes += index_bytes
        if group:
            yield group

    def rows(self, positions: Integers | None) -> Iterator[tuple[int, Integers]]:
        """Yield (shard number, rows) for each run of positions that are in one shard; None for all positions."""
        if positions is None:
            if self._may_be_flat:
                self._keep_starts()
            for number in range(len(self)):
                yield number, np.arange(self.first(number + 1) - self.first(number))
            return
        if not len(positions):
            return
        numbers = self.locate_many(positions)
        edges = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
            number = int(numbers[begin])
            yield number, positions[begin:end] - self.first(number)

    # The whole table

    def check(self) -> None:
        """Read and check the whole table.

        Raises:
            CorruptIndexError: The table is damaged.
        """
        self._table.check()

    @cached_property
    def columns(self) -> ShardColumns:
        """Counts and lengths of all shards; reads all of the table, segments up to 8 MiB in one round trip."""
        fetch_needed(self._store, self._files, self._table.unread, self._table.put)
        return self._table.columns()

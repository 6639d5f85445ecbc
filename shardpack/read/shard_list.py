"""The shards of a dataset as a lazy sequence, and which of them holds a position.

The one place of reading that knows how the manifest lists shards: pages of the shard table are read when a
shard of theirs is asked for, so that opening costs the same for any number of shards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from shardpack.errors import PositionError
from shardpack.format.manifest import Manifest
from shardpack.format.paged import SMALL_BYTES
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_segment import ShardColumns, TableSegmentReader
from shardpack.format.shard_table import ShardTable
from shardpack.read.segment_file import SegmentFile, fetch_needed
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

FLAT_SHARDS = 1 << 14  # up to which all positions are read at once where no request is needed: 0.2 MB, 2 ms


class ShardList(Sequence[ShardInfo]):
    """All shards in order. Safe in threads; a shard's object is made when it is asked for."""

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
        self._is_flat = table_bytes <= SMALL_BYTES or (not store.remote and len(self._table) <= FLAT_SHARDS)

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
            raise PositionError(f"shard {number} is out of range: there are {size}")
        return self._table.shard(number + size if number < 0 else number)

    def __iter__(self) -> Iterator[ShardInfo]:
        return map(self._table.shard, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (ShardList, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ShardList: {len(self)} shards>"

    def locate(self, position: int) -> int:
        """Return the number of the shard that holds a position."""
        return bisect_right(self._starts, position) - 1 if self._is_flat else self._table.locate(position)

    def locate_many(self, positions: Integers) -> Integers:
        """Return (n) the numbers of the shards that hold positions, in any order."""
        if self._is_flat or 8 * len(positions) > len(self):
            return np.searchsorted(self.columns.starts, positions, side="right") - 1
        self.prepare(positions)
        return np.array([self._table.locate(position) for position in positions.tolist()], np.int64)

    def first(self, number: int) -> int:
        """Return the position of a shard's first sample; for `len(self)` the total."""
        if self._is_flat:
            return self._starts[number]
        return self.num_samples if number == len(self) else self._table.start(number)

    def prepare(self, positions: Integers) -> None:
        """Fetch together what locating some positions needs; nothing where the table is local."""
        if not self._is_flat:
            fetch_needed(self._store, self._files, lambda: self._table.needed(positions), self._table.put)

    def check(self) -> None:
        """Read all of the table, and raise CorruptIndexError for anything that is wrong with it."""
        self._table.check()

    @cached_property
    def columns(self) -> ShardColumns:
        """Counts and lengths of all shards; reads all of the table, segments up to 8 MiB in one round trip."""
        fetch_needed(self._store, self._files, self._table.unread, self._table.put)
        return self._table.columns()

    @cached_property
    def _starts(self) -> list[int]:
        starts: list[int] = self.columns.starts.tolist()
        return starts

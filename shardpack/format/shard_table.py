"""The shard table: all shards of a dataset, over all segments of the table (SPEC 5.2)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.layout import segment_path
from shardpack.format.manifest import Manifest
from shardpack.format.paged import Range
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_segment import ShardColumns, TableSegment, TableSegmentReader


class ShardTable:
    """All segments of a dataset's shard table as one. Thread-safe.

    `needed` and `put` identify a range by the number of its segment.
    """

    def __init__(self, segments: Sequence[TableSegmentReader]) -> None:
        self._segments = tuple(segments)
        self._shard_starts = list(accumulate((s.segment.num_shards for s in segments), initial=0))
        self._starts = list(accumulate((s.segment.num_samples for s in segments), initial=0))

    @classmethod
    def whole(cls, manifest: Manifest, read: Callable[[str], bytes | None]) -> ShardTable:
        """Return the checked shard table of a manifest; `read` returns a whole file, or None if it is missing.

        Raises:
            CorruptIndexError: A segment is missing or damaged.
        """

        def opened(segment: TableSegment) -> TableSegmentReader:
            path = segment_path(segment)
            data = read(path)
            if data is None or len(data) != segment.num_bytes:
                raise CorruptIndexError(
                    'file is missing or cut short; restore it, or rebuild it with "shardpack index --force"', path=path
                )
            view, num_locations = memoryview(data), len(manifest.locations)
            return TableSegmentReader(
                lambda begin, length: view[begin : begin + length], segment, path=path, num_locations=num_locations
            )

        table = cls([opened(segment) for segment in manifest.table_segments])
        table.check()
        return table

    def __iter__(self) -> Iterator[ShardInfo]:
        return map(self.shard, range(len(self)))

    def __len__(self) -> int:
        return self._shard_starts[-1]

    @property
    def num_samples(self) -> int:
        """Number of samples in all shards."""
        return self._starts[-1]

    def locate(self, position: int) -> int:
        """Return the number of the shard that holds a stored position, 0 <= position < num_samples."""
        at = bisect_right(self._starts, position) - 1
        return self._shard_starts[at] + self._segments[at].locate(position - self._starts[at])

    def start(self, number: int) -> int:
        """Return the stored position of a shard's first sample, 0 <= number < len(table)."""
        at = bisect_right(self._shard_starts, number) - 1
        return self._starts[at] + self._segments[at].start(number - self._shard_starts[at])

    def shard(self, number: int) -> ShardInfo:
        """Return one shard, 0 <= number < len(table)."""
        at = bisect_right(self._shard_starts, number) - 1
        return self._segments[at].shard(number - self._shard_starts[at])

    def columns(self) -> ShardColumns:
        """Return the numbers of all shards; reads all pages."""
        parts = [segment.columns() for segment in self._segments]
        starts = [part.starts[:-1] + first for part, first in zip(parts, self._starts, strict=False)]
        empty = np.zeros(0, np.int64)
        return ShardColumns(
            np.concatenate([*starts, [self._starts[-1]]]),
            np.concatenate([empty, *(part.num_bytes for part in parts)]),
            np.concatenate([empty, *(part.index_bytes for part in parts)]),
            np.concatenate([empty, *(part.checksum for part in parts)]),
            np.concatenate([empty, *(part.of_index for part in parts)]),
        )

    def needed(self, positions: npt.NDArray[np.int64]) -> list[tuple[int, Range]]:
        """Return (segment number, range) of all that `PagedFile.needed` returns for these stored positions."""
        at = np.searchsorted(self._starts, positions, side="right") - 1
        return [
            (number, wanted)
            for number in np.unique(at).tolist()
            for wanted in self._segments[number].needed(positions[at == number] - self._starts[number])
        ]

    def unread(self) -> list[tuple[int, Range]]:
        """Return (segment number, range) of all that `TableSegmentReader.unread` returns."""
        return [(number, wanted) for number, segment in enumerate(self._segments) for wanted in segment.unread()]

    def put(self, segment: int, begin: int, data: Any) -> None:
        """Take the bytes of a range that was `needed` or `unread`."""
        self._segments[segment].put(begin, data)

    def check(self) -> None:
        """Parse every page and every shard.

        Raises:
            CorruptIndexError: A page or shard is damaged, or two shards have the same name or index path.
        """
        seen: set[str] = set()
        for segment in self._segments:
            segment.check()
        for number, info in enumerate(self):
            if info.index_path in seen:
                at = bisect_right(self._shard_starts, number) - 1
                raise CorruptIndexError(
                    f"shard table has two shards with the name or index path of {info.name!r}; "
                    'rebuild it with "shardpack index --force"',
                    path=self._segments[at].path,
                )
            seen.add(info.index_path)

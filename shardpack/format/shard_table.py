"""The shard table: which shards a dataset has, all its segments as one (SPEC 5.2)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.paged import Range
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_segment import ShardColumns, TableSegmentReader


class ShardTable:
    """All segments of a dataset's shard table as one. Safe in threads.

    `needed` and `put` name a segment by its number, beside the range.
    """

    def __init__(self, segments: Sequence[TableSegmentReader]) -> None:
        self._segments = tuple(segments)
        self._shard_starts = list(accumulate((s.segment.num_shards for s in segments), initial=0))
        self._starts = list(accumulate((s.segment.num_samples for s in segments), initial=0))

    def __len__(self) -> int:
        return self._shard_starts[-1]

    @property
    def num_samples(self) -> int:
        """Samples of all shards."""
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
        """Return all shards in numbers; reads all pages."""
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
        """Return (segment number, range) of what to fetch together and `put` before these positions are asked for.

        What is returned is the next step only: ask again, until nothing is.
        """
        at = np.searchsorted(self._starts, positions, side="right") - 1
        return [
            (number, wanted)
            for number in np.unique(at).tolist()
            for wanted in self._segments[number].needed(positions[at == number] - self._starts[number])
        ]

    def put(self, segment: int, begin: int, data: Any) -> None:
        """Take a range that was `needed`."""
        self._segments[segment].put(begin, data)

    def check(self) -> None:
        """Parse every page and every shard; see `TableSegmentReader.check`.

        Raises:
            CorruptIndexError: Anything is wrong, or two shards of one location have one name, or one index.
        """
        seen: set[str] = set()
        for segment in self._segments:
            segment.check()
        for number in range(len(self)):
            info = self.shard(number)
            if info.index_path in seen:
                at = bisect_right(self._shard_starts, number) - 1
                raise CorruptIndexError(
                    f"shard table names {info.name!r} twice, or one index for two; "
                    'rebuild it with "shardpack index --force"',
                    path=self._segments[at].path,
                )
            seen.add(info.index_path)

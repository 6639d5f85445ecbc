"""Files of one kind, of which each edit adds one: when they become many, the last ones are written as one (SPEC 6.6).

    1,000,000  10,000 x 8            nine files: the last eight hold less than the first, and become one
    1,000,000  80,000

So few files are probed by a look-up, and a row is seldom written again: about as often as the logarithm of the edits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.deleted import join_deleted, parse_deleted
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.layout import NamedFile, file_path
from shardpack.format.manifest import DeletedFile, KeySegment, TableSegment
from shardpack.format.named_files import Parts, encode_deleted_file, encode_keys, encode_table
from shardpack.format.paged import ReadRange
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import TableSegmentReader

MAX_FILES = 8  # of a kind

ReadFile = Callable[[NamedFile], Any]  # the bytes of a file that a manifest names


def num_joined(rows: Sequence[int]) -> int:
    """Return how many of the last files become one: 0 if there are at most 8.

    Else the fewest, but two at least, for which the file before them, if any, has more rows than all of them.

    Args:
        rows: Rows of each file, the new one last.
    """
    if len(rows) <= MAX_FILES:
        return 0
    joined, total = 1, rows[-1]
    while joined < len(rows) and (joined < 2 or rows[-joined - 1] <= total):
        joined += 1
        total += rows[-joined]
    return joined


def joined_table(
    segments: Sequence[TableSegment],
    shards: Sequence[ShardInfo],
    *,
    generation: int,
    num_locations: int,
    read: ReadFile | None,
) -> tuple[tuple[TableSegment, ...], Parts]:
    """Return the segments of the shard table with more shards, and the bytes of the last one, which is new.

    Raises:
        CorruptIndexError: A segment that is joined is damaged.
    """
    rows = [*(segment.num_shards for segment in segments), len(shards)]
    kept, old = _parted(segments, 0 if read is None else num_joined(rows))
    before: list[ShardInfo] = []
    for segment in old:
        load, path = _loader(segment, read), file_path(segment)
        reader = TableSegmentReader(load, segment, path=path, num_locations=num_locations)
        before += map(reader.shard, range(segment.num_shards))
    segment, parts = encode_table([*before, *shards], generation=generation)
    return (*kept, segment), parts


def joined_keys(
    segments: Sequence[KeySegment], hashes: npt.NDArray[np.uint64], *, generation: int, read: ReadFile | None
) -> tuple[tuple[KeySegment, ...], Parts]:
    """Return the segments of the key index with more keys, and the bytes of the last one, which is new.

    Raises:
        CorruptIndexError: A segment that is joined is damaged.
    """
    rows = [*(segment.num_keys for segment in segments), len(hashes)]
    kept, old = _parted(segments, 0 if read is None else num_joined(rows))
    before = [KeySegmentReader(_loader(one, read), one, path=file_path(one)).hashes() for one in old]
    segment, parts = encode_keys(np.concatenate([*before, hashes]), generation=generation)
    return (*kept, segment), parts


def joined_deleted(
    files: Sequence[DeletedFile],
    positions: npt.NDArray[np.int64],
    *,
    generation: int,
    num_samples: int,
    read: ReadFile | None,
) -> tuple[tuple[DeletedFile, ...], Parts]:
    """Return the files of deleted samples with more of them, ascending, and the bytes of the last one, which is new.

    Raises:
        CorruptIndexError: A file that is joined is damaged, or deletes one of these samples already.
    """
    rows = [*(file.num_deleted for file in files), len(positions)]
    kept, old = _parted(files, 0 if read is None else num_joined(rows))
    before: list[npt.NDArray[np.uint64]] = []
    for file in old:
        data = _loader(file, read)(0, file.num_bytes)
        before.append(parse_deleted(data, file, num_samples=num_samples, path=file_path(file)))
    joined = join_deleted([*before, positions.astype(np.uint64)], path=file_path(files[-1]) if files else "")
    file, parts = encode_deleted_file(joined, generation=generation)
    return (*kept, file), parts


def _parted(files: Sequence[Any], joined: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the old files that stay, and those that become one with the new one."""
    stay = len(files) - max(joined - 1, 0)
    return files[:stay], files[stay:]


def _loader(file: NamedFile, read: ReadFile | None) -> ReadRange:
    """Return a function that returns ranges of a file, whose length and checksum are those of the manifest."""
    assert read is not None
    data = memoryview(read(file)).cast("B")
    if len(data) != file.num_bytes or crc32c(data) != file.crc32c:
        raise CorruptIndexError(
            f"file is damaged: expected {file.num_bytes} bytes with the CRC32C {file.crc32c:08x}; restore it, or "
            'rebuild it with "shardpack repair"',
            path=file_path(file),
        )
    return lambda begin, length: data[begin : begin + length]

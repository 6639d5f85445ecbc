"""The shard table: all shards of a dataset, in segments of checksummed pages (SPEC 5.2).

position --> segment --> page of 512 shards --> shard

Opening a segment reads its head, whatever the number of shards; a look-up reads one page. `shard_table_writer` makes
what is read here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import lt
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format import container
from shardpack.format.layout import file_path
from shardpack.format.manifest import Manifest, TableSegment
from shardpack.format.paged import PAGE_ROWS, PagedFile, Range, ReadRange
from shardpack.format.shard_index import parse_names
from shardpack.format.shard_info import MAX_COUNT, ShardInfo, is_shard_name
from shardpack.runtime.arrays import Integers

SCHEMA = container.Schema(
    "shardpack-shards",
    columns={"chapter": "U64", "directory": "U64", "page": "U8"},
    metadata=frozenset(("fields", "page_rows", "chapter_rows")),
)
MAX_PAGES_KEPT = 2048  # per segment, parsed: 40 MB, and their bytes if the file is not mapped
READ_BYTES = 8 << 20  # per read when all pages are read; a segment up to this is read whole, and kept

# A page (SPEC 5.2): number of shards, number of (shard, field) pairs, these columns in this order, the names.
PAGE_COLUMNS = {
    "num_samples": "<u8",
    "num_bytes": "<u8",
    "index_bytes": "<u8",
    "field_samples": "<u8",
    "crc32c": "<u4",
    "index_crc32c": "<u4",
    "location": "<u4",
    "name_end": "<u4",
    "field_end": "<u4",
    "field": "<u2",
    "has_crc32c": "u1",
}
_PAGE_DTYPES = {name: np.dtype(code) for name, code in PAGE_COLUMNS.items()}
_OF_FIELDS = ("field_samples", "field")  # one row per (shard, field) pair; the others have one per shard
_NUMBERS = ("num_samples", "num_bytes", "index_bytes", "crc32c", "index_crc32c", "has_crc32c")  # of `ShardColumns`


def _page_offsets(rows: int, num_fields: int) -> dict[str, int]:
    """Return where each column of a page begins, and where the names do."""
    lengths = ((num_fields if name in _OF_FIELDS else rows) * dtype.itemsize for name, dtype in _PAGE_DTYPES.items())
    return dict(zip((*_PAGE_DTYPES, "names"), accumulate(lengths, initial=16), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class ShardColumns:
    """Numbers of n shards, from which orders, totals and fingerprints are computed.

    Attributes:
        starts: (n + 1) stored position of each shard's first sample, and the end.
        num_bytes, index_bytes: (n) length of each tar and of its index.
        checksum: (n) CRC32C of the tar, or of its index if that of the tar is unknown.
        of_index: (n) 1 where `checksum` is that of the index, else 0.
    """

    starts: Integers
    num_bytes: Integers
    index_bytes: Integers
    checksum: Integers
    of_index: Integers


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
            path = file_path(segment)
            data = read(path)
            if data is None or len(data) != segment.num_bytes:
                raise CorruptIndexError(
                    'file is missing or cut short; make it again with "shardpack repair --force"', path=path
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


@dataclass(frozen=True, slots=True, eq=False)
class ShardPage:
    """One page: up to 512 shards, in columns that are views of its bytes."""

    starts: list[int]  # (n + 1) position of each shard's first sample, counted from the segment's start
    num_bytes: npt.NDArray[np.uint64]
    index_bytes: npt.NDArray[np.uint64]
    field_samples: npt.NDArray[np.uint64]
    crc32c: npt.NDArray[np.uint32]
    index_crc32c: npt.NDArray[np.uint32]
    location: npt.NDArray[np.uint32]
    name_end: npt.NDArray[np.uint32]
    field_end: npt.NDArray[np.uint32]
    field: npt.NDArray[np.uint16]
    has_crc32c: npt.NDArray[np.uint8]
    names: memoryview


class TableSegmentReader(PagedFile[TableSegment, ShardPage]):
    """One segment of the shard table. Thread-safe."""

    def __init__(self, load: ReadRange, segment: TableSegment, *, path: str, num_locations: int = 1) -> None:
        super().__init__(load, segment, SCHEMA, num_rows=segment.num_shards, max_pages=MAX_PAGES_KEPT, path=path)
        self._num_locations = num_locations
        self._fields: tuple[str, ...] | None = None

    def locate(self, position: int) -> int:
        """Return the number of the shard that holds a position, both counted from the segment's start.

        Raises:
            CorruptIndexError: The segment is damaged.
            UnsupportedVersionError: The segment was written by a newer version of the format.
        """
        page = self.page_of(position + 1)
        return page * PAGE_ROWS + bisect_right(self.page(page).starts, position) - 1

    def start(self, number: int) -> int:
        """Return the position of a shard's first sample, counted from the segment's start."""
        page, row = divmod(number, PAGE_ROWS)
        return self.page(page).starts[row]

    def shard(self, number: int) -> ShardInfo:
        """Return one shard, counted from the segment's start."""
        page_number, row = divmod(number, PAGE_ROWS)
        page = self.page(page_number)
        name_begin, name_end = _bounds(page.name_end, row)
        begin, end = _bounds(page.field_end, row)
        fields = self.fields
        return ShardInfo(
            name=self._checked_name(page.names[name_begin:name_end]),
            num_samples=page.starts[row + 1] - page.starts[row],
            num_bytes=int(page.num_bytes[row]),
            crc32c=int(page.crc32c[row]) if page.has_crc32c[row] else None,
            index_bytes=int(page.index_bytes[row]),
            index_crc32c=int(page.index_crc32c[row]),
            samples_per_field={
                fields[number]: count
                for number, count in zip(
                    page.field[begin:end].tolist(), page.field_samples[begin:end].tolist(), strict=True
                )
            },
            location=int(page.location[row]),
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields of the segment's shards, sorted."""
        if self._fields is None:
            self._fields = parse_names(self.header().metadata.get("fields", ""), self.path)
        return self._fields

    def columns(self) -> ShardColumns:
        """Return the numbers of all shards. A million shards take 0.1 s, and 80 MB of pages are read.

        After that a segment of up to 8 MiB costs no further read.
        """
        for begin, length in self.unread():
            self.put(begin, self._read(begin, length))
        parts: list[tuple[Integers, ...]] = []
        for number, data in self._all_pages():
            rows = self._rows_of(number)
            at = _page_offsets(rows, int.from_bytes(data[8:16], "little"))
            *numbers, checksum, of_index, has_crc32c = (
                np.frombuffer(data, _PAGE_DTYPES[name], rows, at[name]).astype(np.int64) for name in _NUMBERS
            )
            parts.append((*numbers, np.where(has_crc32c, checksum, of_index), has_crc32c == 0))
        num_samples, num_bytes, index_bytes, checksum, of_index = map(np.concatenate, zip(*parts, strict=True))
        starts = np.concatenate(([0], np.cumsum(num_samples)))
        return ShardColumns(starts, num_bytes, index_bytes, checksum, of_index.astype(np.int64))

    def needed(self, values: npt.NDArray[Any]) -> list[Range]:
        """As `PagedFile.needed`; the values are positions counted from the segment's start."""
        return super().needed(np.asarray(values, np.uint64) + np.uint64(1))

    def unread(self) -> list[Range]:
        """Return the range to fetch and `put` before `columns`: the file, unless it is read already or too long."""
        num_bytes = self.segment.num_bytes
        return [] if self.is_whole or num_bytes > READ_BYTES else [(0, num_bytes)]

    def check(self) -> None:
        """Parse every page and every shard.

        Raises:
            CorruptIndexError: A page or shard is damaged or contradicts the manifest.
        """
        for page in range(self.num_pages):
            self.page(page)
        for number in range(self.segment.num_shards):
            self.shard(number)

    def _all_pages(self) -> Iterator[tuple[int, memoryview]]:
        """Yield (number, checked bytes) of each page; reads up to `READ_BYTES` at a time."""
        extents = [self._extent(page) for page in range(self.num_pages)]
        done = 0
        while done < len(extents):
            begin, last = extents[done][0], done + 1
            while last < len(extents) and sum(extents[last]) - begin <= READ_BYTES:
                last += 1
            if last > done + 1:
                first_byte = self._page_range(done)[0]
                data = self._read(first_byte, sum(extents[last - 1]) - begin)
                for page in range(done, last):
                    at, size = extents[page]
                    self.put(first_byte + at - begin, data[at - begin : at - begin + size])
            for page in range(done, last):
                yield page, self._page_bytes(page)
            done = last

    def _rows_of(self, page: int) -> int:
        return min(PAGE_ROWS, self.segment.num_shards - page * PAGE_ROWS)

    def _extent(self, page: int) -> Range:
        column = self.header().columns["page"]
        begin = self.directory_row(page)[1]
        is_last = page + 1 == self.num_pages
        end = column.end - column.begin if is_last else self.directory_row(page + 1)[1]
        if not 0 <= begin <= end <= column.end - column.begin or begin % 8 or (page == 0 and begin):
            raise self._broken(f"has page {page} from {begin} to {end}")
        return begin, end - begin

    def _parse(self, number: int, data: memoryview) -> ShardPage:
        rows = self._rows_of(number)
        if len(data) < 16 or int.from_bytes(data[:8], "little") != rows:
            raise self._broken(f"has a page {number} of another number of rows than {rows}")
        num_fields = int.from_bytes(data[8:16], "little")
        at = _page_offsets(rows, num_fields)
        if at["names"] > len(data):
            raise self._broken(f"has a page {number} that is cut short")
        columns: dict[str, Any] = {}
        for name, dtype in _PAGE_DTYPES.items():
            columns[name] = np.frombuffer(data, dtype, num_fields if name in _OF_FIELDS else rows, at[name])
        first = self.directory_row(number)[0]
        num_samples = columns.pop("num_samples")
        starts = list(accumulate(num_samples.tolist(), initial=first))
        page = ShardPage(starts=starts, **columns, names=data[at["names"] :])
        self._check_page(number, page, num_samples)
        return page

    def _check_page(self, number: int, page: ShardPage, num_samples: npt.NDArray[np.uint64]) -> None:
        """Check the columns of a page against each other and the manifest.

        As lists: for the few shards of most datasets this takes a fifth of the time that arrays take, for a whole page
        twice the time, 0.2 ms.
        """
        end = self.segment.num_samples if number + 1 == self.num_pages else self.first_of(number + 1)
        lengths = [column.tolist() for column in (num_samples, page.num_bytes, page.index_bytes)]
        name_end, field_end, field = page.name_end.tolist(), page.field_end.tolist(), page.field.tolist()
        has_crc32c = page.has_crc32c.tolist()
        wrong = (
            page.starts[-1] != end
            or (number == 0 and page.starts[0] != 0)
            or not all(lengths[0])
            or max(map(max, lengths)) > MAX_COUNT
            or not _ascend(name_end)
            or not 0 <= len(page.names) - name_end[-1] < 8
            or any(page.names[name_end[-1] :])
            or not _ascend(field_end)
            or field_end[-1] != len(field)
            or max(field) >= len(self.fields)
            or max(page.location.tolist()) >= self._num_locations
            or max(has_crc32c) > 1
            or any(checksum and not has for checksum, has in zip(page.crc32c.tolist(), has_crc32c, strict=True))
        )
        if wrong:
            raise self._broken(f"has a page {number} that contradicts itself or the manifest")
        field_samples, begin = page.field_samples.tolist(), 0
        for stop, most in zip(field_end, lengths[0], strict=True):
            counts = field_samples[begin:stop]
            ascends = all(map(lt, field[begin : stop - 1], field[begin + 1 : stop]))
            if not (ascends and 0 < min(counts) <= max(counts) <= most):
                raise self._broken(f"has a page {number} with impossible numbers of samples per field")
            begin = stop

    def _checked_name(self, raw: memoryview) -> str:
        try:
            name = str(raw, "utf-8")
        except UnicodeDecodeError:
            name = ""
        if not is_shard_name(name):
            raise self._broken(f"names a shard {bytes(raw[:80])!r}, which could lead outside the dataset")
        return name


def _bounds(ends: npt.NDArray[Any], row: int) -> tuple[int, int]:
    return int(ends[row - 1]) if row else 0, int(ends[row])


def _ascend(ends: Sequence[int]) -> bool:
    return ends[0] > 0 and all(map(lt, ends, ends[1:]))

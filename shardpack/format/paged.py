"""Files in checksummed pages under a directory of two levels: what shard table and key index share (SPEC 5).

    head        header and chapters, a row of which covers 512 rows of the directory    checked by the manifest
    directory   a row a page                                                            checked by its chapter
    pages                                                                               each checked by its row

So a look-up costs the head once, and then one chapter of the directory and one page at most. Bytes come
from `load`, one range at a time; who wants many at once asks what is `needed`, fetches that together,
and `put`s it here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c

PAGE_ROWS = 512
CHAPTER_ROWS = 512  # of the directory
FIRST_BYTES = 64 << 10  # read at once when a file is opened: mostly all but the pages

Load = Callable[[int, int], Any]  # (begin, length) -> buffer of exactly that length
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """A paged file as the manifest names it. The head is its first bytes, up to the end of the chapters."""

    name: str  # in the folder `.shardpack`
    num_bytes: int
    crc32c: int
    head_bytes: int
    head_crc32c: int


def encode_paged(
    schema: container.Schema,
    directory: npt.NDArray[np.uint64],
    pages: npt.NDArray[Any],
    metadata: dict[str, str],
) -> list[bytes | memoryview]:
    """Return a paged file as buffers: header, chapters, directory, pages.

    Args:
        schema: Its columns are "chapter", "directory" and that of the pages.
        directory: (p, 2 or 3) a row a page: the first value in it, ..., its CRC32C.
        pages: All of them, as the third column.
        metadata: Besides what every paged file has.
    """
    starts = range(0, len(directory), CHAPTER_ROWS)
    chapter = np.empty((len(starts), 2), "<u8")
    chapter[:, 0] = directory[::CHAPTER_ROWS, 0]
    chapter[:, 1] = [crc32c(directory[start : start + CHAPTER_ROWS].data) for start in starts]
    return container.encode(
        {"chapter": chapter, "directory": directory, page_column(schema): pages},
        container.metadata_of(schema, page_rows=str(PAGE_ROWS), chapter_rows=str(CHAPTER_ROWS), **metadata),
    )


def page_column(schema: container.Schema) -> str:
    """Return the name of the column that holds the pages."""
    return next(name for name in schema.columns if name not in ("chapter", "directory"))


class PagedFile:
    """One paged file, opened when first needed. Safe in threads: what two load at once is the same.

    Attributes:
        path: Of the file, for errors.
    """

    def __init__(self, load: Load, segment: Segment, schema: container.Schema, *, num_rows: int, path: str) -> None:
        self.path, self.segment = path, segment
        self.num_rows, self.num_pages = num_rows, -(-num_rows // PAGE_ROWS)
        self._load, self._schema = load, schema
        self._held: dict[int, Any] = {}  # fetched together, not looked at yet: by their first byte
        self._prefix: Any = b""
        self._header: container.ContainerHeader | None = None
        self._chapter = np.zeros((0, 2), "<u8")
        self._chapter_firsts = memoryview(self._chapter[:, 0])
        self._directory: dict[int, tuple[npt.NDArray[np.uint64], memoryview]] = {}

    # Where things are

    def header(self) -> container.ContainerHeader:
        """Return the columns and metadata of the file. Costs one read, at first.

        Raises:
            CorruptIndexError: The head is damaged, or not as the manifest says.
            UnsupportedVersionError: The file is from a newer format version.
        """
        if self._header is None:
            self._open()
        assert self._header is not None
        return self._header

    def page_of(self, value: int) -> int:
        """Return the last page whose first value is less than this one; 0 if there is none."""
        if self._header is None:
            self._open()
        chapter = bisect_left(self._chapter_firsts, value) - 1 if len(self._chapter_firsts) > 1 else 0
        chapter = max(chapter, 0)
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        return chapter * CHAPTER_ROWS + max(bisect_left(entry[1], value) - 1, 0)

    def first_of(self, page: int) -> int:
        """Return the first value of a page."""
        chapter, row = divmod(page, CHAPTER_ROWS)
        if not row:
            self.header()
            return int(self._chapter[chapter, 0])
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        return entry[1][row]

    def directory_row(self, page: int) -> list[int]:
        """Return what the directory says of a page."""
        chapter, row = divmod(page, CHAPTER_ROWS)
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        found: list[int] = entry[0][row].tolist()
        return found

    # Bytes, checked

    def page(self, number: int, begin: int, length: int) -> memoryview:
        """Return a page, given where it is in the page column, after comparing its CRC32C."""
        column = self.header().columns[page_column(self._schema)]
        data = self.read(column.begin + begin, length)
        expected, found = self.directory_row(number)[-1], crc32c(data)
        if found != expected:
            raise self.broken(f"has a damaged page {number}: expected CRC32C {expected:08x}, got {found:08x}")
        return data

    def page_range(self, begin: int, length: int) -> Range:
        """Return where in the file a range of the page column is."""
        return self.header().columns[page_column(self._schema)].begin + begin, length

    def read(self, begin: int, length: int) -> memoryview:
        """Return a range of the file, unchecked but for its length."""
        if begin + length <= len(self._prefix):
            return memoryview(self._prefix)[begin : begin + length]
        held = self._held.pop(begin, None)
        data = memoryview(self._load(begin, length) if held is None else held).cast("B")
        if len(data) != length:
            raise self.broken(f"is cut short: expected {length} bytes at {begin}, got {len(data)}")
        return data

    # What is to be fetched

    @property
    def first_range(self) -> Range:
        """What is read when the file is opened."""
        return 0, min(self.segment.num_bytes, max(self.segment.head_bytes, FIRST_BYTES))

    def is_held(self, begin: int, length: int) -> bool:
        """Return whether a range would not be loaded now."""
        return begin in self._held or begin + length <= len(self._prefix)

    def put(self, begin: int, data: Any) -> None:
        """Take a range that was `needed`."""
        self._held[begin] = data

    def directory_needed(self, values: npt.NDArray[np.uint64]) -> list[Range]:
        """Return what must be fetched before the pages of these values are known; mostly nothing."""
        if self._header is None:
            if 0 not in self._held:
                return [self.first_range]
            self._open()
        chapters = np.unique(np.maximum(np.searchsorted(self._chapter[:, 0], values, side="left") - 1, 0))
        ranges = (self._directory_range(chapter) for chapter in chapters.tolist() if chapter not in self._directory)
        return [wanted for wanted in ranges if not self.is_held(*wanted)]

    # Opening

    def _open(self) -> None:
        segment, (begin, length) = self.segment, self.first_range
        prefix = self.read(begin, length)
        found = crc32c(prefix[: segment.head_bytes])
        if found != segment.head_crc32c:
            raise self.broken(
                "is damaged or not of this dataset: "
                f"expected a head with CRC32C {segment.head_crc32c:08x}, got {found:08x}"
            )
        head = prefix[: segment.head_bytes]
        header = container.parse_header(head, name=self.path, num_bytes=segment.num_bytes, schema=self._schema)
        self._check(header)
        at = header.columns["chapter"]
        self._chapter = np.frombuffer(head[at.begin : at.end], "<u8").reshape(at.shape)
        self._chapter_firsts = memoryview(np.ascontiguousarray(self._chapter[:, 0]))
        self._prefix, self._header = prefix, header

    def _check(self, header: container.ContainerHeader) -> None:
        rows = (header.metadata.get("page_rows"), header.metadata.get("chapter_rows"))
        if rows != (str(PAGE_ROWS), str(CHAPTER_ROWS)):
            raise UnsupportedVersionError(
                f"index has pages and chapters of {rows} rows, which this version of shardpack does not know; "
                "upgrade shardpack to the version that wrote it, or later",
                path=self.path,
            )
        order = ("chapter", "directory", page_column(self._schema))
        if header.columns.keys() != set(order):
            raise self.broken(f"has the columns {sorted(header.columns)}, expected {sorted(order)}")
        columns = [header.columns[name] for name in order]
        ends = (columns[0].end, columns[0].end, columns[1].end)
        if (self.segment.head_bytes, columns[1].begin, columns[2].begin) != ends:
            raise self.broken("has its columns in another order than chapter, directory, pages")
        shapes = [column.shape for column in columns[:2]]
        width = 2 if len(columns[2].shape) == 2 else 3
        expected = [(-(-self.num_pages // CHAPTER_ROWS), 2), (self.num_pages, width)]
        if shapes != expected:
            raise self.broken(f"does not match its dataset: expected {expected} rows, got {shapes}")

    def _directory_range(self, chapter: int) -> Range:
        column = self.header().columns["directory"]
        row_bytes = 8 * column.shape[1]
        begin = column.begin + chapter * CHAPTER_ROWS * row_bytes
        return begin, min(CHAPTER_ROWS * row_bytes, column.end - begin)

    def _load_directory(self, chapter: int) -> tuple[npt.NDArray[np.uint64], memoryview]:
        data = self.read(*self._directory_range(chapter))
        expected, found = int(self._chapter[chapter, 1]), crc32c(data)
        if found != expected:
            raise self.broken(f"has a damaged directory: expected CRC32C {expected:08x}, got {found:08x}")
        rows = np.frombuffer(data, "<u8").reshape(-1, self.header().columns["directory"].shape[1])
        firsts = rows[:, 0]
        if int(firsts[0]) != int(self._chapter[chapter, 0]) or bool((firsts[1:] < firsts[:-1]).any()):
            raise self.broken("has a directory that is not sorted")
        entry = rows, memoryview(np.ascontiguousarray(firsts))
        self._directory[chapter] = entry
        return entry

    def broken(self, what: str) -> CorruptIndexError:
        """Return the error that says what is wrong with this file."""
        return CorruptIndexError(f'index {what}; rebuild it with "shardpack index --force"', path=self.path)


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Return ranges once each, ascending."""
    return sorted(set(ranges))

"""Paged files: what the shard table and the key index have in common (SPEC 5).

    head        header, and chapters with one row per 512 directory rows    CRC32C in the manifest
    directory   one row per page                                            CRC32C in its chapter row
    pages       512 rows each                                               CRC32C in its directory row

A look-up therefore reads the head once, then at most one chapter of the directory and one page. Bytes are
read through `load`, one range at a time. To fetch the ranges of many look-ups together, ask which are
`needed`, fetch them, and `put` them here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c

PAGE_ROWS = 512
CHAPTER_ROWS = 512  # directory rows per chapter row
FIRST_BYTES = 64 << 10  # read when a file is opened: usually all but the pages
SMALL_BYTES = 256 << 10  # files up to this are read whole when they are opened: that takes less time than a round trip

ReadRange = Callable[[int, int], Any]  # (begin, length) -> buffer of exactly that length
Range = tuple[int, int]  # (begin, length)


@dataclass(frozen=True, slots=True)
class Segment:
    """A paged file as the manifest names it. Its head ends where the chapters end."""

    name: str  # in the folder `.shardpack`
    num_bytes: int
    crc32c: int
    head_bytes: int
    head_crc32c: int


AnySegment = TypeVar("AnySegment", bound=Segment)
Page = TypeVar("Page")


def encode_paged(
    schema: container.Schema,
    directory: npt.NDArray[np.uint64],
    pages: npt.NDArray[Any],
    metadata: dict[str, str],
) -> list[bytes | memoryview]:
    """Return a paged file as buffers: header, chapters, directory, pages.

    Args:
        schema: Columns "chapter", "directory" and the page column.
        directory: (p, 2 or 3) one row per page: its first value, ..., its CRC32C.
        pages: The page column.
        metadata: Metadata in addition to what every paged file has.
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


class PagedFile(Generic[AnySegment, Page]):
    """Base of the readers of paged files. Opened on first use; parsed pages are cached.

    A subclass says where a page is (`_extent`), what its bytes mean (`_parse`), and which pages
    a value may be on (`_pages_of`). Thread-safe: two threads that load one part load the same bytes.

    Attributes:
        segment: The file as the manifest names it.
        path: Path of the file, for errors.
        num_pages: Number of pages.
    """

    def __init__(
        self,
        load: ReadRange,
        segment: AnySegment,
        schema: container.Schema,
        *,
        num_rows: int,
        max_pages: int,
        path: str,
    ) -> None:
        """Create a reader; nothing is read yet.

        Args:
            load: Reads a range of the file.
            segment: The file as the manifest names it.
            schema: The kind of file.
            num_rows: Number of rows on all pages.
            max_pages: How many parsed pages to keep.
            path: Path of the file, for errors.
        """
        self.segment, self.path = segment, path
        self.num_pages = -(-num_rows // PAGE_ROWS)
        self._load, self._schema, self._max_pages = load, schema, max_pages
        self._page_column = page_column(schema)
        self._fetched: dict[int, Any] = {}  # ranges that were `put` and not read yet, by first byte
        self._prefix: Any = b""  # the beginning of the file, as far as it was read at once
        self._header: container.ContainerHeader | None = None
        self._chapter = np.zeros((0, 2), "<u8")
        self._chapter_firsts = memoryview(self._chapter[:, 0])
        self._directory: dict[int, tuple[npt.NDArray[np.uint64], memoryview]] = {}  # by chapter: rows, first values
        self._pages: OrderedDict[int, Page] = OrderedDict()  # in the order of loading; evicting from it is atomic

    # What a subclass says

    def _extent(self, page: int) -> Range:
        """Return where a page is within the page column."""
        raise NotImplementedError

    def _parse(self, number: int, data: memoryview) -> Page:
        """Return the page that some bytes with a matching checksum hold.

        Raises:
            CorruptIndexError: The page contradicts itself or the manifest.
        """
        raise NotImplementedError

    def _pages_of(self, value: int) -> Iterable[int]:
        """Return the pages that a value may be on."""
        return (self.page_of(value),)

    # Positions of pages

    def header(self) -> container.ContainerHeader:
        """Return the columns and metadata of the file. The first call costs one read.

        Raises:
            CorruptIndexError: The head is damaged, or is not the one the manifest describes.
            UnsupportedVersionError: The file was written by a newer version of the format.
        """
        if self._header is None:
            self._open()
        assert self._header is not None
        return self._header

    def page_of(self, value: int) -> int:
        """Return the last page whose first value is less than this one, or 0."""
        if self._header is None:
            self._open()
        chapter = max(bisect_left(self._chapter_firsts, value) - 1, 0) if len(self._chapter_firsts) > 1 else 0
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        row = bisect_left(entry[1], value)
        return chapter * CHAPTER_ROWS + (row - 1 if row else 0)

    def first_of(self, page: int) -> int:
        """Return the first value of a page."""
        chapter, row = divmod(page, CHAPTER_ROWS)
        if not row:
            self.header()
            return int(self._chapter[chapter, 0])
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        return entry[1][row]

    def directory_row(self, page: int) -> list[int]:
        """Return the directory row of a page."""
        chapter, row = divmod(page, CHAPTER_ROWS)
        entry = self._directory.get(chapter) or self._load_directory(chapter)
        numbers: list[int] = entry[0][row].tolist()
        return numbers

    # Pages

    def page(self, number: int) -> Page:
        """Return a page. Costs at most one read; the pages loaded last are cached.

        Raises:
            CorruptIndexError: The page is damaged, or contradicts the manifest.
        """
        page = self._pages.get(number)
        if page is None:
            page = self._parse(number, self._page_bytes(number))
            while len(self._pages) >= self._max_pages:
                self._pages.popitem(last=False)
            self._pages[number] = page
        return page

    def needed(self, values: npt.NDArray[Any]) -> list[Range]:
        """Return the ranges of the file to fetch and `put` before these values are looked up.

        Returns only the next step: call again after each `put`, until the list is empty.
        """
        if ranges := self._directory_needed(values):
            return ranges
        pages = {page for value in values.tolist() for page in self._pages_of(value)}
        wanted = {self._page_range(page) for page in pages if page not in self._pages}
        return sorted(range_ for range_ in wanted if not self._is_fetched(*range_))

    def put(self, begin: int, data: Any) -> None:
        """Take the bytes of a range that was `needed`, or the whole file."""
        if len(data) == self.segment.num_bytes:
            self._prefix = memoryview(data).cast("B")
        else:
            self._fetched[begin] = data

    def _broken(self, what: str) -> CorruptIndexError:
        """Return the error that says what is wrong with this file."""
        return container.index_error(what, self.path)

    def _page_bytes(self, number: int) -> memoryview:
        """Return the bytes of a page, after comparing their CRC32C."""
        data = self._read(*self._page_range(number))
        expected, computed = self.directory_row(number)[-1], crc32c(data)
        if computed != expected:
            raise self._broken(f"has a damaged page {number}: expected CRC32C {expected:08x}, got {computed:08x}")
        return data

    def _page_range(self, number: int) -> Range:
        """Return where a page is in the file."""
        column = self.header().columns[self._page_column]
        begin, length = self._extent(number)
        return column.begin + begin, length

    # Bytes

    @property
    def is_whole(self) -> bool:
        """Whether the whole file was read, so that nothing more costs a read."""
        return len(self._prefix) == self.segment.num_bytes

    @property
    def _first_range(self) -> Range:
        num_bytes = self.segment.num_bytes
        return 0, num_bytes if num_bytes <= SMALL_BYTES else min(num_bytes, max(self.segment.head_bytes, FIRST_BYTES))

    def _is_fetched(self, begin: int, length: int) -> bool:
        return begin in self._fetched or begin + length <= len(self._prefix)

    def _read(self, begin: int, length: int) -> memoryview:
        """Return a range of the file; only its length is checked."""
        if begin + length <= len(self._prefix):
            return memoryview(self._prefix)[begin : begin + length]
        fetched = self._fetched.pop(begin, None)
        data = memoryview(self._load(begin, length) if fetched is None else fetched).cast("B")
        if len(data) != length:
            raise self._broken(f"is cut short: expected {length} bytes at {begin}, got {len(data)}")
        return data

    # Head and directory

    def _open(self) -> None:
        segment, prefix = self.segment, self._read(*self._first_range)
        head = prefix[: segment.head_bytes]
        computed = crc32c(head)
        if computed != segment.head_crc32c:
            raise self._broken(
                "is damaged or not of this dataset: "
                f"expected a head with CRC32C {segment.head_crc32c:08x}, got {computed:08x}"
            )
        header = container.parse_header(head, name=self.path, num_bytes=segment.num_bytes, schema=self._schema)
        self._check_header(header)
        at = header.columns["chapter"]
        self._chapter = np.frombuffer(head[at.begin : at.end], "<u8").reshape(at.shape)
        self._chapter_firsts = memoryview(np.ascontiguousarray(self._chapter[:, 0]))
        if len(self._prefix) < len(prefix):
            self._prefix = prefix
        self._header = header

    def _check_header(self, header: container.ContainerHeader) -> None:
        rows = (header.metadata.get("page_rows"), header.metadata.get("chapter_rows"))
        if rows != (str(PAGE_ROWS), str(CHAPTER_ROWS)):
            raise UnsupportedVersionError(
                f"index has pages and chapters of {rows} rows, which this version of shardpack does not know; "
                "upgrade shardpack to the version that wrote it, or later",
                path=self.path,
            )
        order = ("chapter", "directory", self._page_column)
        if header.columns.keys() != set(order):
            raise self._broken(f"has the columns {sorted(header.columns)}, expected {sorted(order)}")
        columns = [header.columns[name] for name in order]
        ends = (columns[0].end, columns[0].end, columns[1].end)
        if (self.segment.head_bytes, columns[1].begin, columns[2].begin) != ends:
            raise self._broken("has its columns in another order than chapter, directory, pages")
        shapes = [column.shape for column in columns[:2]]
        width = 2 if len(columns[2].shape) == 2 else 3
        expected = [(-(-self.num_pages // CHAPTER_ROWS), 2), (self.num_pages, width)]
        if shapes != expected:
            raise self._broken(f"does not match its dataset: expected {expected} rows, got {shapes}")

    def _directory_needed(self, values: npt.NDArray[Any]) -> list[Range]:
        """Return the ranges to fetch before the pages of some values are known; usually none."""
        if self._header is None:
            if not self._is_fetched(*self._first_range):
                return [self._first_range]
            self._open()
        chapters = np.unique(np.maximum(np.searchsorted(self._chapter[:, 0], values, side="left") - 1, 0))
        wanted = (self._directory_range(chapter) for chapter in chapters.tolist() if chapter not in self._directory)
        return [range_ for range_ in wanted if not self._is_fetched(*range_)]

    def _directory_range(self, chapter: int) -> Range:
        column = self.header().columns["directory"]
        row_bytes = 8 * column.shape[1]
        begin = column.begin + chapter * CHAPTER_ROWS * row_bytes
        return begin, min(CHAPTER_ROWS * row_bytes, column.end - begin)

    def _load_directory(self, chapter: int) -> tuple[npt.NDArray[np.uint64], memoryview]:
        data = self._read(*self._directory_range(chapter))
        expected, computed = int(self._chapter[chapter, 1]), crc32c(data)
        if computed != expected:
            raise self._broken(f"has a damaged directory: expected CRC32C {expected:08x}, got {computed:08x}")
        rows = np.frombuffer(data, "<u8").reshape(-1, self.header().columns["directory"].shape[1])
        firsts = rows[:, 0]
        if int(firsts[0]) != int(self._chapter[chapter, 0]) or bool((firsts[1:] < firsts[:-1]).any()):
            raise self._broken("has a directory that is not sorted")
        entry = rows, memoryview(np.ascontiguousarray(firsts))
        self._directory[chapter] = entry
        return entry

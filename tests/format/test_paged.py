"""Files in pages: what is read for a look-up, and each refusal of SPEC 5.1."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c
from shardpack.format.paged import (
    CHAPTER_ROWS,
    FIRST_BYTES,
    PAGE_ROWS,
    PagedFile,
    Range,
    Segment,
    encode_paged,
    page_column,
)

SCHEMA = container.Schema(
    "test",
    {"chapter": "U64", "directory": "U64", "value": "U64"},
    frozenset(("page_rows", "chapter_rows")),
)


def encoded(values) -> list[bytes]:
    """Two equal columns of ascending values, in pages."""
    column = np.stack([values, values], axis=1).astype("<u8")
    starts = range(0, len(column), PAGE_ROWS)
    directory = np.array([(column[i, 0], crc32c(column[i : i + PAGE_ROWS].data)) for i in starts], "<u8").reshape(-1, 2)
    return [bytes(part) for part in encode_paged(SCHEMA, directory, column, {})]


def segment_of(parts) -> Segment:
    data, head = b"".join(parts), b"".join(parts[:2])
    return Segment("test.index", len(data), crc32c(data), len(head), crc32c(head))


class Values(PagedFile[Segment, list[int]]):
    """Pages of values, as lists."""

    def __init__(self, load, segment, *, num_rows: int, max_pages: int = 100):
        super().__init__(load, segment, SCHEMA, num_rows=num_rows, max_pages=max_pages, path=".shardpack/test.index")
        self.num_rows = num_rows

    def _extent(self, page: int) -> Range:
        begin = 16 * PAGE_ROWS * page
        return begin, min(16 * PAGE_ROWS, 16 * self.num_rows - begin)

    def _parse(self, number: int, data: memoryview) -> list[int]:  # noqa: ARG002
        return np.frombuffer(data, "<u8")[::2].tolist()


class Opened:
    """A paged file that notes what is loaded."""

    def __init__(self, parts, *, num_rows: int, segment: Segment | None = None, max_pages: int = 100):
        self.data, self.loads = bytearray(b"".join(parts)), []
        self.file = Values(self.load, segment or segment_of(parts), num_rows=num_rows, max_pages=max_pages)

    def load(self, begin: int, length: int) -> bytes:
        self.loads.append((begin, length))
        return bytes(self.data[begin : begin + length])


@pytest.mark.parametrize("count", [1, 511, 512, 513, 5000])
def test_page_of_returns_the_last_page_that_begins_below_a_value(count):
    values = np.arange(count) * 3 + 1
    opened = Opened(encoded(values), num_rows=count)
    for value in (0, 1, 2, 3 * 511 + 1, 3 * 512 + 1, 3 * 512 + 2, 3 * count):
        page = opened.file.page_of(value)
        firsts = [opened.file.first_of(number) for number in range(opened.file.num_pages)]
        assert page == max(sum(first < value for first in firsts) - 1, 0)
        assert opened.file.page(page) == values[page * PAGE_ROWS : (page + 1) * PAGE_ROWS].tolist()


def test_a_small_file_is_opened_with_one_read_and_a_large_one_reads_a_chapter_and_a_page():
    small = Opened(encoded(np.arange(700)), num_rows=700)
    assert small.file.page(small.file.page_of(600)) == list(range(512, 700))
    assert small.loads == [(0, small.file.segment.num_bytes)]
    count = 3 * CHAPTER_ROWS * PAGE_ROWS + 5
    large = Opened(encoded(np.arange(count)), num_rows=count)
    assert large.file.page(large.file.page_of(count - 1)) == list(range(count - 5, count))
    directory = large.file.header().columns["directory"]
    first, *more = large.loads
    assert first == (0, FIRST_BYTES)
    assert directory.end < FIRST_BYTES, "both levels come with the first read"
    assert more == [(large.file.header().columns["value"].end - 80, 80)]


def test_a_directory_beyond_the_first_read_is_read_by_the_chapter():
    count = 10 * CHAPTER_ROWS * PAGE_ROWS
    opened = Opened(encoded(np.arange(count)), num_rows=count)
    opened.file.page_of(count - 1)
    opened.file.page_of(count - 2)
    directory = opened.file.header().columns["directory"]
    assert opened.loads == [(0, FIRST_BYTES), (directory.end - 16 * CHAPTER_ROWS, 16 * CHAPTER_ROWS)]


def test_needed_returns_one_step_at_a_time_and_fetched_ranges_are_not_loaded():
    count = 10 * CHAPTER_ROWS * PAGE_ROWS
    opened = Opened(encoded(np.arange(count)), num_rows=count)
    file, values = opened.file, np.array([5, count - 1, count - 2], np.uint64)
    steps = []
    while wanted := file.needed(values):
        steps.append(wanted)
        for begin, length in wanted:
            file.put(begin, bytes(opened.data[begin : begin + length]))
    assert [len(step) for step in steps] == [1, 1, 2], "the head, a chapter of the directory, the pages"
    assert [count - 2 in file.page(file.page_of(value)) for value in values.tolist()] == [False, True, True]
    assert opened.loads == []
    assert file.needed(values) == []


def test_the_pages_loaded_last_are_kept():
    opened = Opened(encoded(np.arange(6 * 512)), num_rows=6 * 512, max_pages=2)
    opened.file.header()
    opened.loads.clear()
    pages = [opened.file.page(number) for number in (0, 1, 0)]
    assert pages[2] is pages[0]
    opened.file.page(2)
    assert opened.file.page(1) is pages[1]
    assert opened.file.page(0) is not pages[0]


def with_metadata(**values):
    columns, metadata = container.parse(b"".join(encoded(np.arange(600))), name="good")
    return [bytes(part) for part in container.encode(columns, {**metadata, **values})]


def with_columns(change):
    columns, metadata = container.parse(b"".join(encoded(np.arange(600))), name="good")
    return [bytes(part) for part in container.encode(change(dict(columns)), metadata)]


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (with_columns(lambda c: {**c, "directory": c["directory"][:1]}), "does not match its dataset"),
        (with_columns(lambda c: {**c, "chapter": c["chapter"][:0]}), "does not match its dataset"),
        (with_columns(lambda c: {**c, "directory": c["directory"].reshape(-1)}), "does not match its dataset"),
        (with_columns(lambda c: {name: c[name] for name in ("chapter", "directory")}), "has the columns"),
        (with_columns(lambda c: {**c, "directory": c["directory"][::-1]}), "damaged directory"),
    ],
)
def test_files_that_contradict_their_dataset_are_refused(parts, reason):
    opened = Opened(parts, num_rows=600)
    with pytest.raises(CorruptIndexError, match=reason) as caught:
        opened.file.page_of(3)
    assert caught.value.path == ".shardpack/test.index"


def test_a_directory_that_is_not_sorted_is_refused():
    columns, metadata = container.parse(b"".join(encoded(np.arange(2000))), name="good")
    directory = columns["directory"].copy()
    directory[2, 0] = 5000
    chapter = np.array([[0, crc32c(directory.data)]], "<u8")
    parts = [bytes(p) for p in container.encode({**columns, "directory": directory, "chapter": chapter}, metadata)]
    with pytest.raises(CorruptIndexError, match="not sorted"):
        Opened(parts, num_rows=2000).file.page_of(3)


@pytest.mark.parametrize("name", ["page_rows", "chapter_rows"])
def test_other_page_sizes_need_a_newer_shardpack(name):
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        Opened(with_metadata(**{name: "256"}), num_rows=600).file.header()


def test_columns_in_another_order_are_refused():
    """A hand-made header: chapters behind the directory."""
    parts = encoded(np.arange(600))
    header = parts[0].replace(b'"chapter":{"dtype":"U64","shape":[1,2],"data_offsets":[0,16]}', b'"chapter":X')
    header = header.replace(b'"directory":{"dtype":"U64","shape":[2,2],"data_offsets":[16,48]}', b'"directory":Y')
    header = header.replace(b"X", b'{"dtype":"U64","shape":[1,2],"data_offsets":[32,48]}')
    header = header.replace(b"Y", b'{"dtype":"U64","shape":[2,2],"data_offsets":[0,32]}')
    text = header[8:].rstrip(b" ")
    text += b" " * (-len(text) % 8)
    swapped = [len(text).to_bytes(8, "little") + text, parts[2], parts[1], parts[3]]
    segment = dataclasses.replace(
        segment_of(swapped), head_bytes=len(b"".join(swapped[:3])), head_crc32c=crc32c(b"".join(swapped[:3]))
    )
    with pytest.raises(CorruptIndexError, match="another order"):
        Opened(swapped, num_rows=600, segment=segment).file.header()


@given(st.data())
def test_damage_is_found_before_what_it_damages_is_used(data):
    values = np.arange(1300) * 7
    parts = encoded(values)
    opened = Opened(parts, num_rows=1300)
    at = data.draw(st.integers(0, len(opened.data) - 1))
    opened.data[at] ^= 1 << data.draw(st.integers(0, 7))
    begin = sum(map(len, parts[:3]))
    for page in range(3):
        damaged = at < begin or begin + 8192 * page <= at < begin + 8192 * (page + 1)
        if damaged:
            with pytest.raises(CorruptIndexError):
                opened.file.page(page)
        else:
            assert opened.file.page(page) == values[page * 512 : (page + 1) * 512].tolist()


@given(st.data())
def test_truncation_is_found(data):
    parts = encoded(np.arange(600))
    opened = Opened(parts, num_rows=600)
    del opened.data[data.draw(st.integers(0, len(opened.data) - 1)) :]
    with pytest.raises(CorruptIndexError, match="cut short"):
        opened.file.header()


def test_the_pages_are_the_third_column():
    assert page_column(SCHEMA) == "value"

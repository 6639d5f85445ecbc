"""The shard table against a plain list of shards, its cost, and each refusal of SPEC 5.2."""

from __future__ import annotations

import tracemalloc
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest import TableSegment
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.paged import FIRST_BYTES, PAGE_ROWS
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable, TableSegmentReader
from shardpack.format.shard_table_writer import encode_shard_table
from tests.fakes import count_calls
from tests.format.builders import small_dataset

COUNTS = st.integers(1, 2**40)
NAMES = (
    st.text(st.sampled_from("abé/-0"), min_size=1, max_size=12)
    .filter(lambda n: "//" not in n)
    .map(lambda n: n.strip("/") or "x")
)


@st.composite
def shard_lists(draw, max_size=20):
    shards = []
    for number in range(draw(st.integers(1, max_size))):
        num_samples = draw(COUNTS)
        fields = draw(st.sets(st.sampled_from(["jpg", "json", "é.txt", "cls"]), min_size=1))
        shards.append(
            ShardInfo(
                name=f"{number}-{draw(NAMES)}.tar",
                num_samples=num_samples,
                num_bytes=draw(st.integers(0, 2**50)),
                crc32c=draw(st.none() | st.integers(0, 2**32 - 1)),
                index_bytes=draw(st.integers(0, 2**50)),
                index_crc32c=draw(st.integers(0, 2**32 - 1)),
                samples_per_field={field: draw(st.integers(1, num_samples)) for field in sorted(fields)},
                location=draw(st.integers(0, 3)),
            )
        )
    return shards


def plain(number: int, num_samples: int = 10) -> ShardInfo:
    return ShardInfo(f"shard-{number:06d}.tar", num_samples, 4096, number, 512, number + 1, {"jpg": num_samples})


def segment_of(parts, shards) -> TableSegment:
    data, head = b"".join(parts), b"".join(parts[:2])
    return TableSegment(
        name="shards-000001-00000000.index",
        num_bytes=len(data),
        crc32c=crc32c(data),
        head_bytes=len(head),
        head_crc32c=crc32c(head),
        num_shards=len(shards),
        num_samples=sum(info.num_samples for info in shards),
    )


class Opened:
    def __init__(self, shards, *, num_locations: int = 4):
        parts = encode_shard_table(shards)
        self.data, self.loads = b"".join(parts), []
        self.segment = segment_of(parts, shards)
        self.reader = TableSegmentReader(self.load, self.segment, path="x.index", num_locations=num_locations)

    def load(self, begin: int, length: int) -> bytes:
        self.loads.append((begin, length))
        return self.data[begin : begin + length]


@given(shard_lists(), st.data())
def test_a_table_equals_the_list_it_was_made_of(shards, data):
    table = ShardTable([Opened(shards).reader])
    assert list(table) == shards
    starts = list(accumulate((info.num_samples for info in shards), initial=0))
    assert [table.start(number) for number in range(len(table))] == starts[:-1]
    for number in range(len(shards)):
        for position in (
            starts[number],
            starts[number + 1] - 1,
            data.draw(st.integers(starts[number], starts[number + 1] - 1)),
        ):
            assert table.locate(position) == number
    columns = table.columns()
    assert columns.starts.tolist() == starts
    assert columns.num_bytes.tolist() == [info.num_bytes for info in shards]
    assert columns.index_bytes.tolist() == [info.index_bytes for info in shards]
    assert columns.of_index.tolist() == [info.crc32c is None for info in shards]
    assert columns.checksum.tolist() == [info.index_crc32c if info.crc32c is None else info.crc32c for info in shards]
    table.check()


@given(st.lists(shard_lists(max_size=4), min_size=1, max_size=3))
def test_several_segments_are_one_table(parts):
    shards = [info for part in parts for info in part]
    table = ShardTable([Opened(part).reader for part in parts])
    assert (len(table), table.num_samples) == (len(shards), sum(info.num_samples for info in shards))
    assert list(table) == shards
    starts = list(accumulate((info.num_samples for info in shards), initial=0))
    assert [table.locate(start) for start in starts[:-1]] == list(range(len(shards)))
    assert table.columns().starts.tolist() == starts


def test_a_table_without_segments():
    table = ShardTable([])
    assert (len(table), table.num_samples, table.columns().starts.tolist()) == (0, 0, [0])


@pytest.mark.parametrize("count", [1, 511, 512, 513, 1025])
def test_sizes_where_pages_begin(count):
    shards = [plain(number, number % 7 + 1) for number in range(count)]
    table = ShardTable([Opened(shards).reader])
    assert [table.shard(number) for number in range(count)] == shards
    starts = table.columns().starts.tolist()
    assert all(table.locate(start) == number for number, start in enumerate(starts[:-1]))
    assert table.locate(table.num_samples - 1) == count - 1


def test_opening_costs_one_read_and_a_look_up_one_page():
    opened = Opened([plain(number) for number in range(20_000)])
    assert opened.reader.locate(123_456) == 12_345
    assert opened.reader.shard(12_345) == plain(12_345)
    assert len(opened.loads) == 2
    assert opened.loads[0] == (0, FIRST_BYTES)
    assert opened.loads[1][1] < 80 * PAGE_ROWS


def test_many_positions_need_two_rounds():
    opened = Opened([plain(number) for number in range(20_000)])
    table, positions, rounds = ShardTable([opened.reader]), np.arange(0, 200_000, 5000), 0
    while wanted := table.needed(positions):
        rounds += 1
        for segment, (begin, length) in wanted:
            table.put(segment, begin, opened.data[begin : begin + length])
    assert rounds == 2
    assert [table.locate(position) for position in positions.tolist()] == (positions // 10).tolist()
    assert opened.loads == []


def test_a_hundred_thousand_shards_take_little_time_and_memory():
    shards = [plain(number) for number in range(100_000)]
    opened = Opened(shards)

    def last_shard():
        table = ShardTable([opened.reader])
        return table, table.shard(table.locate(999_999))

    tracemalloc.start()
    try:
        (table, shard), calls = count_calls(last_shard)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert shard == shards[-1]
    assert calls < 2000, calls
    columns, calls = count_calls(table.columns)
    assert columns.starts[-1] == 1_000_000
    assert calls < 50_000, "pages are parsed as a whole"


def test_a_page_is_read_once():
    opened = Opened([plain(number) for number in range(20_000)])
    for number in (12_300, 12_301, 12_399):
        assert opened.reader.shard(number) == plain(number)
    assert len(opened.loads) == 2


def test_cached_pages_are_not_needed():
    opened = Opened([plain(number) for number in range(100)])
    opened.reader.locate(5)
    assert opened.reader.needed(np.array([5, 999])) == []


def test_a_segment_cut_short_is_an_error():
    opened = Opened([plain(number) for number in range(20_000)])
    opened.data = opened.data[:-100_000]
    assert opened.reader.shard(0) == plain(0)
    with pytest.raises(CorruptIndexError, match="cut short"):
        opened.reader.shard(19_999)


@given(st.data())
def test_damage_is_found(data):
    shards = [plain(number) for number in range(600)]
    opened = Opened(shards)
    at = data.draw(st.integers(0, len(opened.data) - 1))
    changed = bytearray(opened.data)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    opened.data = bytes(changed)
    with pytest.raises(CorruptIndexError):
        ShardTable([opened.reader]).check()


def forged(**changes) -> ShardTable:
    """A table of three shards with one value that no writer writes, checksums made to fit."""
    shards = [plain(0), plain(1), plain(2)]
    values = {name: changes.pop(name) for name in list(changes) if name != "num_samples_of_segment"}
    shards[1] = ShardInfo(**{**{f: getattr(shards[1], f) for f in ShardInfo.__dataclass_fields__}, **values})
    opened = Opened(shards, num_locations=1)
    if changes:
        segment = opened.segment
        fields = {name: getattr(segment, name) for name in TableSegment.__dataclass_fields__}
        opened.reader = TableSegmentReader(
            opened.load, TableSegment(**{**fields, "num_samples": changes["num_samples_of_segment"]}), path="x"
        )
    return ShardTable([opened.reader])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_samples": 0, "samples_per_field": {"jpg": 0}}, "contradicts itself"),
        ({"num_bytes": 2**63}, "contradicts itself"),
        ({"index_bytes": 2**64 - 1}, "contradicts itself"),
        ({"location": 1}, "contradicts itself"),
        ({"samples_per_field": {}}, "contradicts itself"),
        ({"num_samples_of_segment": 29}, "contradicts itself"),
        ({"samples_per_field": {"jpg": 11}}, "impossible numbers"),
        ({"samples_per_field": {"jpg": 0}}, "impossible numbers"),
        ({"name": "../x.tar"}, "could lead outside"),
        ({"name": "C:x.tar"}, "could lead outside"),
        ({"name": "/etc/passwd"}, "could lead outside"),
        ({"name": "a\\b.tar"}, "could lead outside"),
        ({"name": "x" * 1025}, "could lead outside"),
        ({"name": "shard-000000.tar"}, "two shards with the name or index path"),
        ({"name": "shard-000000"}, "two shards with the name or index path"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(changes, reason):
    with pytest.raises(CorruptIndexError, match=reason):
        forged(**changes).check()


def test_whole_table_reads_whole_files():
    files = small_dataset(3)
    whole = parse_manifest(files[MANIFEST_PATH])
    assert [ShardTable.whole(whole, files.get).shard(n).name for n in range(3)] == [
        f"shard-{n:06d}.tar" for n in range(3)
    ]
    for damage in (lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda _: None):
        with pytest.raises(CorruptIndexError):
            ShardTable.whole(whole, lambda path, damage=damage: damage(files[path]))

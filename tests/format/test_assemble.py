"""Members in any order make one index; all files of a dataset but its tars, in the order of publication."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import FormatError
from shardpack.format.assemble import build_index, encode_dataset, encode_shard, recorded_options
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, fingerprint_text
from shardpack.format.key_index import KeyIndex, KeySegmentReader, hash_key, hash_keys
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_index import MAX_FIELDS, encode_index, parse_index
from shardpack.format.shard_table import ShardTable, TableSegmentReader
from shardpack.format.splits import Splits
from tests.format.builders import SAMPLES, small_shard


def dataset(**options):
    (info, _), (other, _) = (encode_shard(name, small_shard(SAMPLES)[1]) for name in ("a.tar", "b/c.tar"))
    keys = [f"{name}-{key}".encode() for name in "ab" for key in SAMPLES]
    options = {"unique_keys": True, "packed_with": recorded_options(), **options}
    return [info, other], keys, *encode_dataset([info, other], hash_keys(map(bytes.decode, keys)), **options)


def test_files_come_in_order_of_publication_with_their_contents():
    shards, keys, manifest, files = dataset(classes=["cat", "dog"], rejected=[("x.jpg", "broken")])
    data = {path: b"".join(parts) for path, parts in files}
    assert [path for path, _ in files] == [
        f".shardpack/{manifest.table_segments[0].name}",
        f".shardpack/{manifest.key_segments[0].name}",
        ".shardpack/rejected.jsonl",
        ".shardpack/manifests/000001.json",
        ".shardpack/manifest.json",
    ]
    assert data[".shardpack/manifests/000001.json"] == data[".shardpack/manifest.json"]
    assert parse_manifest(data[".shardpack/manifest.json"]) == manifest
    assert data[".shardpack/rejected.jsonl"] == b'{"name": "x.jpg", "reason": "broken"}\n'
    for segment in manifest.files:
        whole = data[f".shardpack/{segment.name}"]
        assert (segment.num_bytes, segment.crc32c) == (len(whole), crc32c(whole))
        assert segment.name.split("-")[1:] == ["000001", f"{crc32c(whole):08x}.index"]
    table, index = (data[f".shardpack/{segment.name}"] for segment in manifest.files)
    found = ShardTable(
        [TableSegmentReader(lambda at, size: table[at : at + size], manifest.table_segments[0], path="x")]
    )
    assert [found.shard(number) for number in range(len(found))] == shards
    lookup = KeyIndex([KeySegmentReader(lambda at, size: index[at : at + size], manifest.key_segments[0], path="x")])
    assert [lookup.find(hash_key(key)) for key in keys] == [[i] for i in range(len(keys))]


def test_splits_have_a_file_that_the_manifest_names():
    splits = Splits.of_runs([("train", 1), (None, 1), ("val", 1)])
    _, _, manifest, files = dataset(splits=splits)
    path = f".shardpack/{manifest.splits.name}"
    data = b"".join(dict(files)[path])
    assert [name for name, _ in files].index(path) == 2
    assert (len(data), crc32c(data)) == (manifest.splits.num_bytes, manifest.splits.crc32c)
    assert manifest.splits.samples == {"train": 1, "val": 1}
    assert path in manifest.metadata_paths
    assert manifest.fingerprint == dataset()[2].fingerprint


def test_totals_are_sums_over_shards():
    shards, _, manifest, _ = dataset()
    assert (manifest.num_shards, manifest.num_samples) == (2, 2 * len(SAMPLES))
    assert manifest.num_bytes == sum(info.num_bytes for info in shards)
    assert manifest.samples_per_field == {"jpg": 4, "json": 6, "seg.png": 2}
    assert manifest.fingerprint == fingerprint_text(chain(shards))


def test_a_dataset_without_samples():
    manifest, files = encode_dataset([], np.zeros(0, np.uint64), packed_with={})
    assert [path for path, _ in files] == [".shardpack/manifests/000001.json", ".shardpack/manifest.json"]
    assert parse_manifest(files[-1][1][0]) == manifest


def test_the_shard_info_matches_the_index_file():
    index = small_shard(SAMPLES)[1]
    info, parts = encode_shard("x.tar", index, location=3)
    data = b"".join(parts)
    assert (info.index_bytes, info.index_crc32c, info.location) == (len(data), crc32c(data), 3)
    assert parse_index(data, name="x").keys() == list(SAMPLES)


@pytest.mark.parametrize("names", [("a.tar", "a.tar"), ("a.tar", "a")])
def test_shards_with_the_same_index_path_are_refused(names):
    shards = [encode_shard(name, small_shard(SAMPLES)[1])[0] for name in names]
    with pytest.raises(FormatError, match="two shards have the same name"):
        encode_dataset(shards, np.zeros(6, np.uint64), packed_with={})


def build(members, *, num_samples: int, fields, shard=None):
    """An index of (row, code) pairs whose member i has offset 512 * (2 i + 1) and size i."""
    row, code = (np.array([member[i] for member in members], np.int64) for i in (0, 1))
    numbers = np.arange(len(members))
    return build_index(
        keys=[f"k{i}" for i in range(num_samples)],
        fields=fields,
        row=row,
        code=code,
        data_offset=512 * (2 * numbers + 1),
        size=numbers % 512,
        crc32c=numbers + 7,
        header_bytes=np.full(len(members), 512),
        shard_bytes=1024 * (len(members) + 1),
        shard_crc32c=0,
        end_of_data=1024 * len(members),
        shard=shard,
    )


@given(st.data())
def test_each_member_lands_in_its_cell(data):
    fields = data.draw(st.lists(st.text(max_size=4), min_size=1, max_size=5, unique=True))
    rows = data.draw(st.lists(st.sets(st.integers(0, len(fields) - 1), min_size=1), max_size=5))
    members = [(row, code) for row, codes in enumerate(rows) for code in data.draw(st.permutations(sorted(codes)))]
    index = build(members, num_samples=len(rows), fields=fields)
    assert list(index.fields) == sorted({fields[code] for _, code in members})
    assert index.num_members == len(members)
    assert index.dense == (len(members) == len(rows) * len(index.fields))
    for i, (row, code) in enumerate(members):
        [member] = [member for member in index.members(row) if index.field_of(member) == fields[code]]
        assert index.row_of(member) == row
        columns = (index.data_offset, index.size, index.crc32c, index.header_bytes)
        assert [int(column[member]) for column in columns] == [512 * (2 * i + 1), i, i + 7, 512]
    parse_index(b"".join(encode_index(index)), name="x")


def test_the_size_of_an_index_is_proportional_to_its_members():
    """As macOS makes tars: a file of its own name beside each image, here in 40,000 samples of one field."""
    members = [(row, 0) for row in range(40_000)] + [(40_000, code) for code in range(1, 1001)]
    fields = ["jpg", *(f"_{i:04d}.jpg" for i in range(1000))]
    tracemalloc.start()
    parts = encode_index(build(members, num_samples=40_001, fields=fields))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    num_bytes = sum(map(len, parts))
    assert num_bytes < 2 << 20
    assert peak < 20 << 20
    assert parse_index(b"".join(parts), name="x").samples_per_field()["jpg"] == 40_000


def test_the_index_takes_under_64_bytes_for_a_sample_of_two_fields_without_its_key():
    index = build([(row, code) for row in range(10_000) for code in range(2)], num_samples=10_000, fields=["a", "b"])
    header, *columns = encode_index(index)
    assert sum(map(len, columns)) - len(index.key_heap) <= 57 * 10_000
    assert len(header) < 1024


def test_the_largest_number_of_fields():
    fields = [f"{i:05x}" for i in range(MAX_FIELDS)]
    index = build([(i, i) for i in range(MAX_FIELDS)], num_samples=MAX_FIELDS, fields=fields)
    found = parse_index(b"".join(encode_index(index)), name="x")
    assert found.fields == tuple(fields)
    assert [found.field_of(member) for member in (0, MAX_FIELDS - 1)] == ["00000", "0ffff"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([f"{i:05x}" for i in range(MAX_FIELDS + 1)], r"has 65537 names, limit 65536: '00000', "),
        ([f"{i:04d}{'n' * 250}" for i in range(5000)], r"takes 12\d{5} bytes, limit 1044480: '0000n"),
    ],
)
def test_too_many_field_names_are_refused(fields, reason):
    with pytest.raises(FormatError, match=rf"the list of different fields {reason}.*before the first dot") as caught:
        build([(i, i) for i in range(len(fields))], num_samples=len(fields), fields=fields, shard="a/x.tar")
    assert caught.value.shard == "a/x.tar"

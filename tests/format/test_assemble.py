"""All files of a dataset but its tars, in the order in which they are published."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import FormatError
from shardpack.format.assemble import encode_dataset, encode_shard, recorded_options
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain, fingerprint_text
from shardpack.format.key_index import KeyIndex, KeySegmentReader, hash_key, hash_keys
from shardpack.format.manifest import parse_manifest
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_segment import TableSegmentReader
from shardpack.format.shard_table import ShardTable
from tests.format.builders import SAMPLES, small_shard


def dataset(**options):
    (info, _), (other, _) = (encode_shard(name, small_shard(SAMPLES)[1]) for name in ("a.tar", "b/c.tar"))
    keys = [f"{name}-{key}".encode() for name in "ab" for key in SAMPLES]
    options = {"unique_keys": True, "packed_with": recorded_options(), **options}
    return [info, other], keys, *encode_dataset([info, other], hash_keys(keys, len(keys)), **options)


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
    for segment in (*manifest.table_segments, *manifest.key_segments):
        whole = data[f".shardpack/{segment.name}"]
        assert (segment.num_bytes, segment.crc32c) == (len(whole), crc32c(whole))
        assert segment.name.split("-")[1:] == ["000001", f"{crc32c(whole):08x}.index"]
    table, index = (
        data[f".shardpack/{segment.name}"] for segment in (*manifest.table_segments, *manifest.key_segments)
    )
    found = ShardTable(
        [TableSegmentReader(lambda at, size: table[at : at + size], manifest.table_segments[0], path="x")]
    )
    assert [found.shard(number) for number in range(len(found))] == shards
    lookup = KeyIndex([KeySegmentReader(lambda at, size: index[at : at + size], manifest.key_segments[0], path="x")])
    assert [lookup.find(hash_key(key)) for key in keys] == [[i] for i in range(len(keys))]


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

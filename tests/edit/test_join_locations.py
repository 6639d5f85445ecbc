"""A dataset with tars in several locations, as it is with all of them in one folder."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from shardpack.edit.join_locations import join_locations
from shardpack.errors import OptionError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.format.shard_info import ShardInfo

ONE = ShardInfo("a.tar", 1, 1024, 1, 100, 2, {"jpg": 1})
TWO = replace(ONE, name="b.tar", location=1)


def made(shards, locations):
    manifest, files = encode_dataset(shards, hash_keys(["a", "b"]), locations=locations, packed_with={})
    return b"".join(files[-1][1]), manifest


def test_one_folder_stays_as_it_is():
    text, manifest = made([ONE, replace(TWO, location=0)], ["."])
    text = text.replace(b"{\n", b"{\n ", 1)  # not as we write it
    joined = join_locations(text, manifest, [ONE, replace(TWO, location=0)])
    assert (joined.text, joined.manifest, list(joined.tables)) == (text, manifest, [])


def test_one_other_location_needs_no_new_table():
    shards = [ONE, replace(TWO, location=0)]
    joined = join_locations(*made(shards, ["../tars"]), shards)
    assert (joined.manifest, joined.text) == (made(shards, ["."])[1], made(shards, ["."])[0])
    assert (joined.shards, list(joined.tables)) == (shards, [])


def test_two_locations_become_one():
    in_one_folder = [ONE, replace(TWO, location=0)]
    text, manifest = made([ONE, TWO], [".", "s3://bucket/more"])
    joined = join_locations(text, manifest, [ONE, TWO])
    assert (joined.text, joined.manifest, joined.shards) == (*made(in_one_folder, ["."]), in_one_folder)
    assert joined.manifest.fingerprint == manifest.fingerprint
    assert parse_manifest(joined.text) == joined.manifest
    assert encode_manifest(joined.manifest) == joined.text
    ((path, parts),) = joined.tables
    assert path == f".shardpack/{joined.manifest.table_segments[0].name}"
    assert sum(map(len, parts)) == joined.manifest.table_segments[0].num_bytes


def test_tars_of_one_name_cannot_be_in_one_folder():
    shards = [ONE, replace(TWO, name="a.tar")]
    with pytest.raises(
        OptionError, match=r"tars of two locations are called 'a\.tar', so they cannot be in one folder"
    ):
        join_locations(*made(shards, [".", "../more"]), shards)


def test_packed_shards_of_one_name_get_others():
    shards = [
        replace(ONE, name="train-000000.tar"),
        replace(TWO, name="train-000000.tar"),
        replace(TWO, name="train-000004.tar.zst"),
        replace(TWO, name="other.tar"),
        replace(TWO, name="shard-000007.tar", location=2),
    ]
    manifest, _ = encode_dataset(shards, hash_keys("abcde"), locations=[".", "../more", "../most"], packed_with={})
    joined = join_locations(encode_manifest(manifest), manifest, shards)
    first, second, third, *others = [info.name for info in joined.shards]
    assert (first, others) == ("train-000000.tar", ["other.tar", "shard-000007.tar"])
    assert re.fullmatch(r"train-g000001-[0-9a-f]{8}-000000\.tar", second)
    assert third == second.replace("000000.tar", "000001.tar.zst")
    assert all(info.location == 0 for info in joined.shards)

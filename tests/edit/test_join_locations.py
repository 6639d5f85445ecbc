"""A dataset with tars in several places, as it is in one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.edit.join_locations import join_locations
from shardpack.errors import OptionError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import encode_manifest, parse_manifest
from shardpack.format.shard_info import ShardInfo

ONE = ShardInfo("a.tar", 1, 1024, 1, 100, 2, {"jpg": 1})
TWO = replace(ONE, name="b.tar", location=1)


def made(shards, locations):
    whole, files = encode_dataset(shards, hash_keys([b"a", b"b"], 2), locations=locations, packed_with={})
    return b"".join(files[-1][1]), whole


def test_what_is_in_one_place_stays_as_it_is():
    text, whole = made([ONE, replace(TWO, location=0)], ["."])
    text = text.replace(b"{\n", b"{\n ", 1)  # not as we write it
    found = join_locations(text, whole, [ONE, replace(TWO, location=0)])
    assert (found.text, found.manifest, list(found.tables)) == (text, whole, [])


def test_one_other_place_needs_no_other_table():
    shards = [ONE, replace(TWO, location=0)]
    found = join_locations(*made(shards, ["../tars"]), shards)
    assert (found.manifest, found.text) == (made(shards, ["."])[1], made(shards, ["."])[0])
    assert (found.shards, list(found.tables)) == (shards, [])


def test_two_places_become_one():
    here = [ONE, replace(TWO, location=0)]
    text, whole = made([ONE, TWO], [".", "s3://bucket/more"])
    found = join_locations(text, whole, [ONE, TWO])
    assert (found.text, found.manifest, found.shards) == (*made(here, ["."]), here)
    assert found.manifest.fingerprint == whole.fingerprint
    assert parse_manifest(found.text) == found.manifest
    assert encode_manifest(found.manifest) == found.text
    ((path, parts),) = found.tables
    assert path == f".shardpack/{found.manifest.table_segments[0].name}"
    assert sum(map(len, parts)) == found.manifest.table_segments[0].num_bytes


def test_tars_of_one_name_cannot_be_in_one_place():
    shards = [ONE, replace(TWO, name="a.tar")]
    with pytest.raises(OptionError, match=r"tars of two locations are called 'a\.tar', so that they cannot be in one"):
        join_locations(*made(shards, [".", "../more"]), shards)

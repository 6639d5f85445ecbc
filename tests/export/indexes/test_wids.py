"""The shard index of wids: what its own tool writes."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import InvalidKeyError
from shardpack.export.indexes.wids import WidsShard, encode, index_name
from tests.export.indexes.samples import LONG, exported


def test_the_entries_of_its_own_tool(ds, golden, tmp_path):
    with shardpack.ShardWriter(tmp_path / "x", classes=["cat", "dog"], max_shard_samples=3) as writer:
        for key in ("cat/0001", "cat/0002", "dog/0003"):
            writer.write(key, dict(ds[key]))
    made = exported(shardpack.open(tmp_path / "x"), tmp_path / "out", "wids", hashes=True)
    expected = golden["wids"]
    del expected["shardlist"][1:]
    assert json.loads(made["shardindex.json"]) == {**expected, "base": str(tmp_path / "x")}


def test_entries_are_sorted_and_hashes_may_be_missing():
    made = json.loads(encode([WidsShard("b", 1, 2), WidsShard("a", 3, 4)], name="n", base=None))
    assert made["shardlist"] == [{"url": "a", "nsamples": 3, "filesize": 4}, {"url": "b", "nsamples": 1, "filesize": 2}]
    assert "base" not in made


def test_names_that_it_would_cut_are_refused(ds, tmp_path):
    with pytest.raises(InvalidKeyError, match="reads only the first 100 bytes") as caught:
        exported(ds, tmp_path / "out", "wids")
    assert caught.value.key.startswith(LONG)


def test_names_of_indexes():
    assert [index_name(None), index_name("val")] == ["shardindex.json", "shardindex-val.json"]

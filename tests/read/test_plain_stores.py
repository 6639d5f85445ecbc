"""Stores that show shards as plain tars: one that decompresses a location, and what it knows of its shards."""

from __future__ import annotations

import pickle

from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.read.plain_stores import PlainStores
from shardpack.storage.locations import DatasetStores
from shardpack.storage.memory import MemoryStore
from tests.format.builders import framed_index, small_index


def info(name, location=0):
    return ShardInfo(name, 3, 400, None, 1, 1, {}, location)


def test_only_compressed_shards_have_a_store_of_their_own():
    home, other = MemoryStore({}), MemoryStore({})
    plain = PlainStores(DatasetStores(home, (home, other), home.location))
    index, framed = (parse_index(data, name="x") for data in (small_index(), framed_index()))
    assert plain.of(info("a.tar"), index) is home
    assert plain.of(info("a.tar", 1), index) is other
    first = plain.of(info("a.tar.zst"), framed)
    assert first is plain.of(info("b.tar.zst"), framed)
    assert first is not plain.of(info("b.tar.zst", 1), framed)
    assert first.size("a.tar.zst") == framed.plain_bytes


def test_what_is_forgotten_is_read_again():
    home = MemoryStore({".shardpack/index/a.tar.zst.index": framed_index()})
    plain = PlainStores(DatasetStores(home, (home,), home.location))
    framed = parse_index(framed_index(), name="x")
    store = plain.of(info("a.tar.zst"), framed)
    plain.forget(info("a.tar.zst"))
    plain.forget(info("a.tar.zst", 7))
    assert store.size("a.tar.zst") == framed.plain_bytes
    assert pickle.loads(pickle.dumps(store)).size("a.tar.zst") == framed.plain_bytes

"""Stores that show shards as plain tars: one that decompresses a location, and what it knows of its shards."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.read.plain_stores import IndexFrames, PlainStores
from shardpack.storage.locations import DatasetStores
from shardpack.storage.memory import MemoryStore
from tests.format.builders import framed_index, small_index

PATH = ".shardpack/index/{}.index"


class Counted(MemoryStore):
    """Remembers what was read."""

    def get(self, path, *, max_bytes=None):
        self.read.append(path)
        return super().get(path, max_bytes=max_bytes)


def counted(num_shards):
    names = [f"{number}.tar.zst" for number in range(num_shards)]
    store = Counted({PATH.format(name): framed_index() for name in names})
    store.read = []
    return names, store


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


def test_frames_that_nobody_gave_are_read_from_their_index_once():
    """Also where a worker reads samples of many shards in any order."""
    names, store = counted(40)
    frames = IndexFrames(store, 0)
    for name in (*names, *names[::-1]):
        assert frames[name].same_as(parse_index(framed_index(), name="x").frames)
    assert store.read == list(map(PATH.format, names))


def test_frames_that_were_used_lately_are_kept():
    (a, b, c), store = counted(3)
    num_bytes = parse_index(framed_index(), name="x").frames.num_bytes
    frames = IndexFrames(store, 0, max_kept_bytes=2 * num_bytes)
    for name in (a, b, a, c, a):
        assert len(frames[name]) > 0
    assert store.read == list(map(PATH.format, (a, b, c)))
    assert len(frames[b]) > 0
    assert store.read[3:] == [PATH.format(b)]


def test_a_copy_reads_them_itself():
    frames = IndexFrames(MemoryStore({".shardpack/index/2/a.tar.zst.index": framed_index()}), 2)
    frames["given"] = frames["a.tar.zst"]
    copy = pickle.loads(pickle.dumps(frames))
    assert not copy
    assert copy["a.tar.zst"].same_as(frames["a.tar.zst"])


def test_what_is_not_there():
    frames = IndexFrames(MemoryStore({PATH.format("a"): small_index()}), 0)
    with pytest.raises(ShardNotFoundError):
        frames["b.tar.zst"]
    with pytest.raises(CorruptIndexError, match="its shard is not compressed"):
        frames["a.tar"]

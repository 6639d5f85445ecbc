"""Frames by the name of their shard: given, or read from the index."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.format.shard_index import parse_index
from shardpack.storage.index_frames import IndexFrames
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

"""Frames by the name of their shard: given, or read from the index."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.format.shard_index import parse_index
from shardpack.storage.index_frames import READ_HERE, IndexFrames
from shardpack.storage.memory import MemoryStore
from tests.format.builders import framed_index, small_index

PATH = ".shardpack/index/{}.index"


def test_frames_that_nobody_gave_are_read_from_their_index():
    names = [f"{number}.tar.zst" for number in range(READ_HERE + 1)]
    store = MemoryStore({PATH.format(name): framed_index() for name in names})
    frames = IndexFrames(store, 0)
    for name in names:
        assert frames[name].same_as(parse_index(framed_index(), name="x").frames)
    assert len(frames) == READ_HERE


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

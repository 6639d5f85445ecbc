"""How pages are read: from a map, or by ranges that are fetched together."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.read.segment_file import SegmentFile
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.read.datasets import numbered, packed, write
from tests.sidecars import key_index, plain


def test_a_local_file_is_mapped_and_its_length_checked(tmp_path):
    segment = shardpack.open(write(tmp_path, numbered(20))).manifest.key_segments[0]
    path = key_index(tmp_path)
    data = path.read_bytes()
    file = SegmentFile(LocalStore(tmp_path), segment)
    assert bytes(file.load(3, 20)) == data[3:23]
    file.trim()
    for wrong in (data + b"1", data[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(CorruptIndexError, match=f"expected {len(data)} bytes"):
            SegmentFile(LocalStore(tmp_path), segment).load(0, 1)
    path.unlink()
    with pytest.raises(ShardNotFoundError, match="file is missing; restore it") as caught:
        SegmentFile(LocalStore(tmp_path), segment).load(0, 1)
    assert plain(caught.value.path) == "keys.index"


def test_a_remote_file_is_read_by_ranges():
    class Remote(MemoryStore):
        remote = True

    files = packed(numbered(20))
    segment = shardpack.open(MemoryStore(files)).manifest.table_segments[0]
    store = Remote(files)
    assert SegmentFile(store, segment).load(3, 20) == files[f".shardpack/{segment.name}"][3:23]
    store.delete(f".shardpack/{segment.name}")
    with pytest.raises(ShardNotFoundError, match="file is missing"):
        SegmentFile(store, segment).load(3, 20)

from __future__ import annotations

import time

import pytest

from shardpack.storage.clients.fsspec import FsspecClient
from shardpack.storage.listing import list_objects
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Listed


def test_a_folder_tells_lengths_and_times(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"123")
    (tmp_path / "a").write_bytes(b"")
    first, second = list_objects(LocalStore(tmp_path))
    assert (first.path, first.num_bytes, second.path, second.num_bytes) == ("a", 0, "deep/b", 3)
    assert first.modified == (tmp_path / "a").stat().st_mtime


def test_memory_tells_names_only():
    assert list_objects(MemoryStore({"b": b"1", "a": b""})) == [Listed("a"), Listed("b")]


def test_a_bucket_tells_lengths_and_times(s3_server):
    pytest.importorskip("obstore")
    store = open_store(f"s3://{s3_server.new_bucket()}/folder", s3_server.options())
    before = time.time()
    store.put("b/c", b"123")
    store.put("a", b"")
    first, second = list_objects(store)
    assert (first.path, first.num_bytes, second.path, second.num_bytes) == ("a", 0, "b/c", 3)
    assert before - 2 <= first.modified <= time.time() + 2
    assert store.names_below("b") == ["b/c"]
    assert store.names() == ["a", "b/c"]


def test_drivers_tell_what_they_know(tmp_path):
    pytest.importorskip("fsspec")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b").write_bytes(b"123")
    client = FsspecClient(f"file://{tmp_path}", {}, connect_seconds=5, read_seconds=5)
    (found,) = client.listing()
    assert (found.path, found.num_bytes) == ("deep/b", 3)
    assert found.modified is not None
    assert client.names("deep") == ["deep/b"]
    assert client.names("none") == []
    memory = FsspecClient("memory://listing-test", {}, connect_seconds=5, read_seconds=5)
    assert memory.listing() == []
    memory.put("a", b"1")
    (found,) = memory.listing()
    assert (found.path, found.num_bytes) == ("a", 1)
    assert abs(found.modified - time.time()) < 60

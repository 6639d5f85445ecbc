"""Files of a compressed tar by name, without unpacking it."""

from __future__ import annotations

import gzip
import pickle

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError, SourceError
from shardpack.sources.archives import tar_stream
from shardpack.sources.archives.tar_stream import TarStreamStore, is_compressed_tar
from shardpack.storage.memory import MemoryStore
from tests.sources.archives.test_tar import make_tar

FILES = {"a/1.bin": b"first", "a/2.bin": bytes(range(256)) * 100, "b": b""}


def opened(files):
    return TarStreamStore(MemoryStore({"x.tgz": gzip.compress(make_tar(files))}), "x.tgz")


def test_files_and_parts_of_them():
    store = pickle.loads(pickle.dumps(opened({f"./{name}": content for name, content in FILES.items()})))
    assert store.names() == sorted(FILES)
    for name, content in FILES.items():
        assert store.size(name) == store.version(name).size == len(content)
        assert store.get(name) == content
    assert store.get_range("a/2.bin", start=1000, length=2000) == FILES["a/2.bin"][1000:3000]
    with pytest.raises(CorruptShardError, match="truncated"):
        store.get_range("a/1.bin", start=1, length=5)
    with pytest.raises(ShardNotFoundError, match="no file 'c'"):
        store.size("c")


def test_names_that_lead_out_are_left_out():
    assert opened({"../a": b"x", "/b": b"x", "c": b"x"}).names() == ["c"]


def test_many_files_are_refused(monkeypatch):
    monkeypatch.setattr(tar_stream, "_MAX_FILES", 2)
    with pytest.raises(SourceError, match="more than 2 files"):
        opened(FILES)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tar.gz", True), ("A.TGZ", True), ("a.tar.zst", True), ("a.tar", False), ("a.gz", False), ("a.zip", False)],
)
def test_names_of_compressed_tars(name, expected):
    assert is_compressed_tar(name) == expected

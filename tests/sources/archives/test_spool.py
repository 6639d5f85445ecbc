"""Unpacking into a folder that is there as long as it is needed, and no longer."""

from __future__ import annotations

import gzip
import os

import pytest

from shardpack.errors import SourceError
from shardpack.sources.archives import spool as module
from shardpack.sources.archives.spool import Spool
from shardpack.storage.memory import MemoryStore

PLAIN = os.urandom(10_000) + bytes(100_000)
STORE = MemoryStore({"x.tgz": gzip.compress(PLAIN), "cut.tgz": gzip.compress(PLAIN)[:-20]})


def test_a_file_is_there_until_the_end(tmp_path):
    said, done = [], []
    with Spool(
        tmp_path / "work", announce=said.append, progress=lambda *progress: done.append(progress), left_free_bytes=0
    ) as spool:
        assert not spool.used
        store, path = spool.unpack(STORE, "x.tgz")
        again, other = spool.unpack(STORE, "x.tgz")
        assert store.get(path) == again.get(other) == PLAIN
        assert path != other
        assert spool.used
    assert list((tmp_path / "work").iterdir()) == []
    size = STORE.size("x.tgz")
    assert done == [("unpack", size, size)] * 2
    what = f"{size / 1024:.1f} KiB compressed, 107.4 KiB in {tmp_path / 'work'}"
    assert said[0] == f"unpacked x.tgz for as long as it is packed: {what}"


def test_nothing_is_made_unless_something_is_unpacked(tmp_path):
    with Spool(tmp_path / "work"):
        pass
    assert not (tmp_path / "work").exists()


def test_a_damaged_file_leaves_nothing(tmp_path):
    with pytest.raises(SourceError, match="cut short"), Spool(tmp_path, left_free_bytes=0) as spool:
        spool.unpack(STORE, "cut.tgz")
    assert list(tmp_path.iterdir()) == []


def test_the_disk_is_not_filled(tmp_path):
    with (
        pytest.raises(SourceError, match=r"does not fit: 0 B may be used .* work_dir \(--work-dir\)"),
        Spool(tmp_path, left_free_bytes=1 << 60) as spool,
    ):
        spool.unpack(STORE, "x.tgz")
    assert list(tmp_path.iterdir()) == []


def test_bombs_are_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGE_BYTES", 1 << 20)
    bomb = MemoryStore({"x.tgz": gzip.compress(bytes(8 << 20))})
    with pytest.raises(SourceError, match="more than 200 times"), Spool(tmp_path, left_free_bytes=0) as spool:
        spool.unpack(bomb, "x.tgz")
    assert list(tmp_path.iterdir()) == []

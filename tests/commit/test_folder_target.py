"""A folder as a target: whole files or none, temporary ones in the work folder only, whatever stands in the way."""

from __future__ import annotations

import os
import sys

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError, StorageError
from tests.fakes import contents

needs_fifo = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")


@pytest.fixture
def target(tmp_path):
    found = FolderTarget(str(tmp_path))
    os.makedirs(tmp_path / ".shardpack" / "tmp")
    return found


def test_files_are_put_read_and_deleted(target, tmp_path):
    target.put("a/b.index", [b"1", memoryview(b"23")])
    assert (target.read("a/b.index"), target.size("a/b.index")) == (b"123", 3)
    assert (target.read("x"), target.size("x")) == (None, None)
    target.delete(["a/b.index", "x"])
    target.fsync()
    assert contents(tmp_path) == {"a": None, ".shardpack": None, ".shardpack/tmp": None}


def test_names_are_those_beside_the_tars_and_in_the_work_folder(target, tmp_path):
    target.put(".shardpack/tmp/x/y", [b""])
    target.put("photos/a.jpg", [b""])
    target.put("shard-000000.tar", [b""])
    assert {"shard-000000.tar", ".shardpack/tmp/x/y"} <= set(target.names())
    assert "photos/a.jpg" not in target.names()
    assert not FolderTarget(str(tmp_path / "nowhere")).names()


def test_a_write_that_fails_leaves_nothing(target, tmp_path):
    def parts():
        yield b"1"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        target.put("x", parts())
    assert contents(tmp_path) == {".shardpack": None, ".shardpack/tmp": None}


def test_a_file_is_moved_to_its_place(target, tmp_path):
    made = tmp_path / ".shardpack" / "tmp" / "made"
    made.write_bytes(b"1")
    target.put_file("a/x.tar", made, num_bytes=1, crc32c=None)
    assert contents(tmp_path) == {".shardpack": None, ".shardpack/tmp": None, "a": None, "a/x.tar": b"1"}


@pytest.mark.parametrize("name", ["shard-000000.tar.5.tmp", "shard-000000.tar", "a.index", "x.index.7.tmp"])
def test_what_was_being_written_is_removed_by_the_next_run(target, tmp_path, name):
    (tmp_path / ".shardpack" / "tmp" / name).write_bytes(b"1")
    Transaction.new_dataset(target, "pack").release()
    assert set(contents(tmp_path)) == {".shardpack", ".shardpack/tmp", ".shardpack/tmp/lease.json"}


@needs_fifo
@pytest.mark.parametrize("stray", [os.mkdir, getattr(os, "mkfifo", None)])
def test_what_is_no_file_is_removed_from_the_work_folder(tmp_path, stray):
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True)
    stray(tmp_path / ".shardpack" / "tmp" / "shard-000000.tar")
    stray(tmp_path / ".shardpack" / "tmp" / "x.index.1.tmp")
    shardpack.pack([("a", {"bin": b"1"})], tmp_path)
    assert shardpack.verify(tmp_path, full=True).ok
    assert not (tmp_path / ".shardpack" / "tmp" / "lease.json").exists()


@needs_fifo
@pytest.mark.parametrize("stray", [os.mkdir, getattr(os, "mkfifo", None)])
@pytest.mark.parametrize("name", ["shard-000000.tar", ".shardpack/manifest.json"])
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_file_is_never_written_to_or_replaced(tmp_path, stray, name, force):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    stray(tmp_path / name)
    with pytest.raises(OutputExistsError):
        shardpack.pack([("a", {"bin": b"1"})], tmp_path, force=force)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.name != ".shardpack"] == [name]


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path):
    shardpack.pack([("a", {"bin": b"1"})], tmp_path)
    (tmp_path / "shard-000000.tar").unlink()
    (tmp_path / "shard-000000.tar").mkdir()
    with pytest.raises(OutputExistsError, match=r"\.tar' is a folder, where a file of the dataset belongs"):
        shardpack.pack([("b", {"bin": b"1"})], tmp_path, force=True)


@pytest.mark.skipif(sys.platform == "win32", reason="no locks there")
def test_a_lock_is_waited_for_no_longer_than_told(tmp_path):
    first = FolderTarget(str(tmp_path)).lock()
    with pytest.raises(OutputExistsError, match="another process"):
        FolderTarget(str(tmp_path), seconds_to_wait=0.02).lock()
    first.release()


def test_a_file_in_the_way_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write to"):
        Transaction.new_dataset(FolderTarget(str(tmp_path / "file")), "pack")

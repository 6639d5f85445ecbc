"""The local folder of a packer whose shards go to a bucket: its own, and gone with it."""

from __future__ import annotations

import os
import sys
import tempfile

import pytest

from shardpack.commit.scratch import ScratchDir, flat_name, new_scratch, own_prefix
from shardpack.errors import OutputExistsError
from shardpack.storage.lock import FolderLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks there")


DEAD_PROCESS = 1 << 22  # no system numbers processes so high; the number of one that has ended may be given again


def abandoned(parent, process):
    path = parent / f"{own_prefix()}{process}-abcd1234"
    path.mkdir(parents=True)
    (path / "shard-000000.tar").write_bytes(b"1")
    return path


def test_each_has_its_own(tmp_path):
    (first, lock), (second, other) = new_scratch(str(tmp_path / "work")), new_scratch(str(tmp_path / "work"))
    assert first.path != second.path
    assert os.path.dirname(first.path) == str(tmp_path / "work")
    with first.share(), second.share():
        assert os.path.isdir(first.path)
    first.remove()
    assert os.listdir(tmp_path / "work") == [os.path.basename(second.path)]
    lock.release()
    other.release()


def test_without_a_choice_it_is_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch, lock = new_scratch(None)
    assert os.path.dirname(scratch.path) == str(tmp_path)
    lock.release()


@pytest.mark.skipif(os.name == "nt", reason="a working directory cannot be deleted")
def test_where_none_can_be_made_that_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError):
        new_scratch(".")


def test_what_killed_packers_left_is_removed(tmp_path):
    old = abandoned(tmp_path, DEAD_PROCESS)
    scratch, lock = new_scratch(str(tmp_path))
    assert not old.exists()
    assert os.path.isdir(scratch.path)
    lock.release()


@pytest.mark.parametrize("name", ["shardpack-elsewhere-1-abcd", "shardpack", "notes", "shardpack-x"])
def test_nothing_else_is_removed(tmp_path, name):
    (tmp_path / name).mkdir()
    new_scratch(str(tmp_path))[1].release()
    assert (tmp_path / name).exists()


def test_what_lives_is_not_removed(tmp_path):
    by_process = abandoned(tmp_path, os.getppid())
    by_lock = abandoned(tmp_path, DEAD_PROCESS)
    with FolderLock(str(by_lock)) as worker:  # of a packer that was killed just now
        assert worker.try_acquire(shared=True)
        new_scratch(str(tmp_path))[1].release()
    assert by_process.exists()
    assert by_lock.exists()


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"1")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{own_prefix()}{DEAD_PROCESS}-abcd").symlink_to(tmp_path / "precious")
    new_scratch(str(tmp_path / "work"))[1].release()
    assert (tmp_path / "precious" / "file").exists()


def test_a_worker_of_a_killed_packer_writes_no_more(tmp_path):
    scratch = ScratchDir(str(tmp_path))
    with FolderLock(str(tmp_path)) as lock:
        assert lock.try_acquire()  # the next packer, tidying up
        with pytest.raises(OutputExistsError, match="has taken over"):
            scratch.share()


def test_names_with_folders_are_flat(tmp_path):
    scratch = ScratchDir(str(tmp_path))
    assert scratch.join("a/b.tar") == str(tmp_path / "a%2Fb.tar")
    assert scratch.join("a%2Fb.tar") == str(tmp_path / "a%252Fb.tar")
    assert scratch.join("shard-000000.tar") == str(tmp_path / "shard-000000.tar")


def test_names_stay_short_enough_for_a_file():
    for name in ("d/" * 300 + "x.tar", "%" * 150 + ".index", "é" * 150 + ".tar"):
        assert len(flat_name(name).encode()) <= 220
        assert flat_name(name).rpartition(".")[2] == name.rpartition(".")[2]
        assert flat_name(name) != flat_name("y" + name[1:])

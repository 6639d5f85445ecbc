"""Locks on folders: held by one, shared by many, gone with their process."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from shardpack.storage.lock import FolderLock
from tests.conftest import ROOT
from tests.storage.test_local import counts_descriptors, num_open

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks there")


def take(path, *, shared=False):
    lock = FolderLock(str(path))
    return lock, lock.try_acquire(shared=shared)


def test_one_holds_it(tmp_path):
    first, taken = take(tmp_path)
    assert taken
    assert not take(tmp_path)[1]
    assert not take(tmp_path, shared=True)[1]
    first.release()
    assert take(tmp_path)[1]
    assert list(tmp_path.iterdir()) == []  # nothing was written


def test_many_share_it(tmp_path):
    with FolderLock(str(tmp_path)) as first, FolderLock(str(tmp_path)) as second:
        assert first.try_acquire(shared=True)
        assert second.try_acquire(shared=True)
        assert not take(tmp_path)[1]
        second.release()
        assert first.try_acquire()  # from shared to held
        assert first.try_acquire(shared=True)  # and back
    assert take(tmp_path)[1]


def test_a_removed_folder_is_noticed(tmp_path):
    (tmp_path / "a").mkdir()
    with FolderLock(str(tmp_path / "a")) as lock:
        assert lock.is_current()
        (tmp_path / "a").rmdir()
        assert not lock.is_current()
        (tmp_path / "a").mkdir()
        assert not lock.is_current()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_folder_without_locks_is_everybodys(tmp_path, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    locks = [FolderLock(str(tmp_path), flock=refuse) for _ in range(2)]
    assert [lock.try_acquire() for lock in locks] == [True, True]


@counts_descriptors
def test_nothing_stays_open(tmp_path):
    lock, _ = take(tmp_path)
    assert num_open(tmp_path) == 1
    lock.release()
    lock.release()
    take(tmp_path)
    assert num_open(tmp_path) == 0


def test_the_kernel_releases_it(tmp_path):
    script = "import sys, time; from shardpack.storage.lock import FolderLock; lock = FolderLock(sys.argv[1])"
    script += "; print(lock.try_acquire(), flush=True); time.sleep(600)"
    command = [sys.executable, "-c", script, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        assert not take(tmp_path)[1]
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert take(tmp_path)[1]

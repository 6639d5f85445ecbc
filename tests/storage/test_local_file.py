"""One local file: interrupted reads, long reads, and what is not a regular file."""

from __future__ import annotations

import errno
import os
import socket
import tracemalloc

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.storage import local_file
from shardpack.storage.local import LocalStore
from shardpack.storage.local_file import LocalFile, drop_from_cache, is_in_memory, open_regular
from tests.storage.contract import DATA


@pytest.fixture
def store(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    return LocalStore(tmp_path)


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_device(path):
    path.symlink_to("/dev/zero")


def make_folder(path):
    path.mkdir()


@pytest.mark.skipif(os.name == "nt", reason="no such files")
@pytest.mark.parametrize(
    ("make", "kind"),
    [(make_pipe, "a pipe"), (make_socket, None), (make_device, "a device"), (make_folder, "a folder")],
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch, make, kind):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    make(tmp_path / "x")
    store = LocalStore(tmp_path)
    for read in (
        lambda: store.get_range("x", start=0, length=1),
        lambda: store.get_ranges("x", starts=[0, 1], lengths=[1, 1]),
        lambda: store.size("x"),
        lambda: store.get("x"),
        lambda: store.map("x"),
        lambda: store.put("y", tmp_path / "x"),
    ):
        with pytest.raises(
            StorageError, match=f"expected a file, got {kind}" if kind else "cannot .*; (check the disk|repair it)"
        ):
            read()
    assert store.names() in ([], ["x"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_a_target_is_replaced(tmp_path):
    os.mkfifo(tmp_path / "x")
    os.mkfifo(tmp_path / f"x.{os.getpid()}.tmp")
    store = LocalStore(tmp_path)
    store.put("x", b"abc")
    assert store.get_range("x", start=0, length=3) == b"abc"
    assert store.names() == ["x"]


def test_links_to_files_are_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").symlink_to("a")
    os.close(open_regular(str(tmp_path / "b")))
    assert LocalStore(tmp_path).get_range("b", start=1, length=2) == b"bc"


def test_one_long_read_takes_no_more_than_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(local_file, "_LARGE_BYTES", 1 << 20)
    data = os.urandom(1 << 20) * 16
    (tmp_path / "a").write_bytes(data)
    with LocalFile(str(tmp_path / "a"), "a") as file:
        tracemalloc.start()
        try:
            found = file.read(5, len(data) - 5)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert found == data[5:]
        assert peak < 1.01 * len(data)
        with pytest.raises(CorruptShardError, match="truncated"):
            file.read(6, len(data))


@pytest.mark.parametrize("at_most", [1, 7, 4096])
def test_reads_cut_short_are_continued(store, monkeypatch, at_most):
    real = local_file._pread
    monkeypatch.setattr(local_file, "_pread", lambda descriptor, length, at: real(descriptor, min(length, at_most), at))
    assert store.get_range("a.bin", start=3, length=5000) == DATA[3:5003]
    with pytest.raises(CorruptShardError, match="truncated"):
        store.get_range("a.bin", start=len(DATA) - 3, length=4)


@pytest.mark.parametrize("at_most", [1000, 70_000])
def test_long_reads_cut_short_are_continued(store, monkeypatch, at_most):
    real = local_file._pread_into
    monkeypatch.setattr(local_file, "_LARGE_BYTES", 1000)
    monkeypatch.setattr(local_file, "_pread_into", lambda descriptor, view, at: real(descriptor, view[:at_most], at))
    assert store.get_range("a.bin", start=3, length=5000) == DATA[3:5003]


def test_the_system_refuses_a_read(store, monkeypatch):
    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(local_file, "_pread", refuse)
    with pytest.raises(StorageError, match="Input/output error") as caught:
        store.get_range("a.bin", start=7, length=1)
    assert (caught.value.path, caught.value.offset) == ("a.bin", 7)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ShardNotFoundError, match="missing"):
        LocalFile(str(tmp_path / "nowhere"), "nowhere")


def test_hints_do_not_change_what_is_read(store, monkeypatch):
    hinted = []
    monkeypatch.setattr(local_file.LocalFile, "is_cached", lambda *_: False)
    if hasattr(os, "posix_fadvise"):
        monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, __: hinted.append((start, length)))
    assert store.get_ranges("a.bin", starts=[5, 300], lengths=[10, 20]) == [DATA[5:15], DATA[300:320]]
    assert hinted == ([(5, 10), (300, 20)] if local_file._HAS_HINTS else [])


@pytest.mark.parametrize("can_tell", [True, False])
def test_what_lies_behind_the_end_is_not_in_memory(store, monkeypatch, can_tell):
    if not can_tell:
        monkeypatch.setattr(local_file, "_HAS_HINTS", False)
    store.get_range("a.bin", start=0, length=len(DATA))
    assert not store.is_cached("a.bin", len(DATA))


@pytest.mark.skipif(not local_file._HAS_HINTS, reason="this system cannot tell what is cached")
@pytest.mark.parametrize("in_memory", [True, False])
def test_files_in_memory_are_cached_though_their_file_system_has_no_probe(store, monkeypatch, in_memory):
    looked, hinted = [], []

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, __: hinted.append((start, length)))
    monkeypatch.setattr(local_file, "is_in_memory", lambda device: looked.append(device) or in_memory)
    assert store.is_cached("a.bin", 0) == store.is_cached("a.bin", len(DATA) - 1) == in_memory
    assert not store.is_cached("a.bin", len(DATA))
    store.prefetch("a.bin", starts=[0], lengths=[1])
    assert hinted == ([] if in_memory else [(0, 1)])
    assert len(looked) == 1


@pytest.mark.skipif(not local_file._HAS_HINTS, reason="this system cannot tell what is cached")
def test_a_byte_that_would_have_to_be_waited_for_is_not_in_memory(store, monkeypatch):
    def refuse(*_):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "preadv", refuse)
    monkeypatch.setattr(local_file, "is_in_memory", lambda _: True)
    assert not store.is_cached("a.bin", 0)


@pytest.mark.skipif(not local_file._HAS_HINTS, reason="this system cannot tell what is cached")
def test_a_probe_that_fails_once_is_no_error_and_is_asked_again(store, monkeypatch):
    store.get_range("a.bin", start=0, length=len(DATA))

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "preadv", fail)
        failing.setattr(os, "posix_fadvise", lambda *_: None)
        assert not store.is_cached("a.bin", 0)
        store.prefetch("a.bin", starts=[0], lengths=[1])
    monkeypatch.setattr(os, "preadv", lambda *_: 1)
    assert store.is_cached("a.bin", 0)


@pytest.mark.skipif(not hasattr(os, "makedev"), reason="no device numbers")
def test_linux_lists_which_file_systems_are_in_memory(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "25 24 0:23 / /dev/shm rw,relatime shared:4 - tmpfs tmpfs rw,size=24684084k\n"
        "31 24 0:24 /a /mnt/tmpfs rw - nfs4 server:/tmpfs rw\n"
        "32 24 0:25 / /mnt/b rw - ramfs none rw\n"
    )
    found = [is_in_memory(os.makedev(0, minor), mounts=str(mounts)) for minor in (23, 24, 25, 2)]
    assert found == [True, False, True, False]
    assert not is_in_memory(os.makedev(0, 23), mounts=str(tmp_path / "nowhere"))


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="this system cannot tell what is cached")
def test_a_file_is_dropped_from_the_page_cache(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(1 << 20))
    with open(path, "rb+") as file:
        assert drop_from_cache(file.fileno())
        file.seek(0)
        assert file.read() == bytes(1 << 20)

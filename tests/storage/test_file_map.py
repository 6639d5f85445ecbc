"""Maps of files: slices are bytes, no descriptor is held, and the memory goes when the map does."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path

import pytest

from shardpack.storage.file_map import TAKES_DESCRIPTOR, drop_resident, map_file, map_with_mmap
from shardpack.storage.local import LocalStore
from tests.storage.contract import DATA

lists_descriptors = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list them")
lists_maps = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not list maps")


@pytest.fixture(params=[map_file, map_with_mmap])
def mapped(request, tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA * 9)
    descriptor = os.open(tmp_path / "a.bin", os.O_RDONLY)
    try:
        return request.param(descriptor, len(DATA) * 9)
    finally:
        os.close(descriptor)


def test_slices_are_bytes(mapped):
    assert len(mapped) == len(DATA) * 9
    whole = mapped[:]
    assert type(whole) is bytes
    assert whole == DATA * 9
    assert mapped[1000:2000] == whole[1000:2000]
    assert mapped[7:7] == b""
    assert memoryview(mapped).nbytes == len(whole)


def test_memory_that_was_let_go_of_comes_back(mapped):
    drop_resident(mapped)
    drop_resident(DATA)
    assert mapped[:] == DATA * 9


def descriptors_of(path):
    return [entry for entry in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{entry}") == str(path)]


@lists_descriptors
@pytest.mark.skipif(TAKES_DESCRIPTOR, reason="maps hold descriptors here")
def test_a_map_holds_no_descriptor(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    store = LocalStore(tmp_path)
    mapped = store.map("a.bin")
    store.close()
    gc.collect()
    assert mapped[:] == DATA
    assert not descriptors_of(tmp_path / "a.bin")


@lists_maps
def test_a_map_ends_with_its_last_user(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    store = LocalStore(tmp_path)
    mapped = store.map("a.bin")
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    view = memoryview(mapped)
    del mapped
    assert str(tmp_path) in Path("/proc/self/maps").read_text()
    del view
    gc.collect()
    assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_an_empty_file_has_no_map(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"")
    assert LocalStore(tmp_path).map("a.bin") is None


@pytest.mark.skipif(TAKES_DESCRIPTOR, reason="other maps there")
def test_no_room_for_a_map_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(DATA)

    def refuse(*_):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr("shardpack.storage.local_file.map_file", refuse)
    store = LocalStore(tmp_path)
    assert store.map("a.bin") is None
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]


def test_what_the_system_refuses_is_an_error(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"."):
            map_file(descriptor, 10)
    finally:
        os.close(descriptor)

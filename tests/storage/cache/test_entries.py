"""One entry of a cache: whole and undamaged, or not there."""

from __future__ import annotations

import os

import pytest

from shardpack.storage.cache import entries as module
from shardpack.storage.cache.cache_folder import CacheFolder
from shardpack.storage.cache.entries import Entries, file_bytes

DATA = bytes(range(256)) * 1000
OBJECT, VERSION = "a" * 32, "b" * 32


@pytest.fixture
def kept(tmp_path):
    """Return the entries of an object of which bytes 1000 onwards are kept."""
    folder = CacheFolder(str(tmp_path), 64 << 20)
    folder.keep(folder.entries(OBJECT, VERSION), 1000, DATA)
    return Entries(folder.entries(OBJECT, VERSION).folder)


@pytest.mark.parametrize(("start", "length"), [(1000, len(DATA)), (1000, 1), (70_000, 100_000), (len(DATA) + 999, 1)])
def test_what_lies_within_is_found(kept, start, length):
    assert kept.may_hold(start, length)
    assert kept.read(start, length) == DATA[start - 1000 :][:length]


@pytest.mark.parametrize(("start", "length"), [(999, 1), (999, 10), (len(DATA) + 1000, 1), (1000, len(DATA) + 1)])
def test_what_does_not_is_not(kept, start, length):
    assert not kept.may_hold(start, length)
    assert kept.read(start, length) is None


def test_a_damaged_entry_is_deleted(kept):
    path = kept.entry(1000, len(DATA))
    assert os.path.getsize(path) == file_bytes(len(DATA))
    with open(path, "r+b") as file:
        file.seek(100_000)
        file.write(b"\0\0\0\0\0")
    assert kept.read(1000, 10) == DATA[:10]  # another piece
    assert kept.read(1000, len(DATA)) is None
    assert not os.path.exists(path)


@pytest.mark.parametrize("wanted", [len(DATA), 70_000])
def test_long_entries_are_read_in_several_calls(kept, monkeypatch, wanted):
    monkeypatch.setattr(module, "_ONE_READ_BYTES", 5000)
    assert kept.read(1000, wanted) == DATA[:wanted]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_in_the_place_of_an_entry_is_an_error_at_once(kept):
    path = kept.entry(1000, len(DATA))
    os.unlink(path)
    os.mkfifo(path)
    with pytest.raises(OSError, match="expected a file, got a pipe"):
        kept.read(1000, len(DATA))

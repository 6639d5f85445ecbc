"""A stored object reads as a file does."""

from __future__ import annotations

from shardpack.sources.formats.stored_file import StoredFile
from shardpack.storage.memory import MemoryStore


def test_an_object_is_read_by_ranges():
    file = StoredFile(MemoryStore({"a": b"abcdef"}), "a")
    assert (file.read(2), file.seek(-1, 2), file.read(), file.size()) == (b"ab", 5, b"f", 6)

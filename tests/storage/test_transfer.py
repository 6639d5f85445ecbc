"""Whole objects in bounded memory, compared with what they must be."""

from __future__ import annotations

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.storage import transfer
from shardpack.storage.memory import MemoryStore
from shardpack.storage.transfer import check_file, checked_pieces, read_object

DATA = bytes(range(256)) * 100
FLIPPED = DATA[:50] + bytes([DATA[50] ^ 1]) + DATA[51:]


def test_objects_are_read_in_ranges(monkeypatch):
    monkeypatch.setattr(transfer, "RANGE_BYTES", 1000)
    store = MemoryStore({"x": DATA})
    assert b"".join(read_object(store, "x", len(DATA))) == DATA
    assert store.stats.snapshot().requests == 26
    assert not list(read_object(store, "x", 0))
    with pytest.raises(ShardNotFoundError):
        list(read_object(store, "y", 1))


def test_pieces_are_checked_at_the_end():
    good = checked_pieces([DATA[:100], DATA[100:]], "x", num_bytes=len(DATA), checksum=crc32c(DATA), location="here")
    assert b"".join(good) == DATA
    assert b"".join(checked_pieces([b"a"], "x", num_bytes=1, checksum=None, location="here")) == b"a"
    for pieces, num_bytes in (([DATA[1:]], len(DATA)), ([FLIPPED], len(DATA)), ([DATA, b"1"], len(DATA))):
        with pytest.raises(CorruptShardError, match=r"file in 'here' is damaged: expected 25600 bytes with CRC32C"):
            list(checked_pieces(pieces, "x", num_bytes=num_bytes, checksum=crc32c(DATA), location="here"))


def test_files_are_checked_pieces(tmp_path):
    (tmp_path / "x").write_bytes(DATA * 100)
    check_file(tmp_path / "x", "x", num_bytes=len(DATA) * 100, checksum=crc32c(DATA * 100))
    with pytest.raises(CorruptShardError):
        check_file(tmp_path / "x", "x", num_bytes=len(DATA), checksum=crc32c(DATA))
    with pytest.raises(ShardNotFoundError, match="restore it"):
        check_file(tmp_path / "y", "y", num_bytes=1, checksum=None)

"""Ranges that were fetched can be read like the file; others cannot."""

from __future__ import annotations

import io

import pytest

from shardpack.errors import CorruptIndexError
from shardpack.table.sparse_file import Rehearsal, SparseFile

FILE = bytes(range(100))


@pytest.fixture
def sparse():
    return SparseFile(100, [10, 90], [FILE[10:30], FILE[90:]], path="x.parquet")


def test_reads_what_is_there(sparse):
    assert sparse.readable()
    assert sparse.seekable()
    assert sparse.seek(12) == 12
    assert sparse.read(3) == FILE[12:15]
    assert sparse.tell() == 15
    assert sparse.seek(-8, io.SEEK_END) == 92
    assert sparse.read() == FILE[92:]
    assert sparse.read(1) == b""
    assert sparse.size() == 100


@pytest.mark.parametrize(("at", "length"), [(0, 1), (29, 2), (30, 1), (89, 2)])
def test_refuses_what_is_not(sparse, at, length):
    sparse.seek(at)
    with pytest.raises(CorruptIndexError, match="not where its footer says"):
        sparse.read(length)


def test_a_rehearsal_tells_what_was_read():
    file = Rehearsal(100)
    file.seek(10)
    assert file.read(5) == bytes(5)
    file.seek(-4, io.SEEK_END)
    assert file.read(50) == bytes(4)
    assert file.read(50) == b""
    assert file.ranges == {(10, 5), (96, 4)}

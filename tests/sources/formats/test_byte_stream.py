"""Bytes in order: the same for any pieces, inflated in bounded memory, and cut short only with an error."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.formats.byte_stream import MAX_INFLATED_RECORD, ByteStream, RangeStream, inflate, read_pieces
from shardpack.storage.memory import MemoryStore

DATA = bytes(range(256)) * 40
COMPRESS = {"gzip": lambda data: gzip.compress(data, mtime=0), "zlib": zlib.compress}


def pieces_of(data, size):
    return (data[i : i + size] for i in range(0, len(data), size))


@given(st.lists(st.integers(0, 600), max_size=30), st.integers(1, 700))
def test_runs_are_the_same_for_any_pieces(lengths, size):
    stream, at = ByteStream(pieces_of(DATA, size), name="x", start=7), 0
    for length in lengths:
        if at + length > len(DATA):
            break
        assert stream.take(length, "it") == DATA[at : at + length]
        at += length
        assert stream.offset == 7 + at
    assert stream.at_end() == (at == len(DATA))


def test_ranges_of_a_store():
    store = MemoryStore({"x": DATA})
    assert b"".join(read_pieces(store, "x", read_bytes=100)) == DATA
    assert b"".join(read_pieces(store, "x", 10, 1000, read_bytes=100)) == DATA[10:1000]


def test_too_little_is_an_error():
    stream = ByteStream(pieces_of(b"abc", 2), name="x")
    with pytest.raises(SourceError, match=r"record 3 is cut short: expected 4 bytes, got 3.*offset=0"):
        stream.take(4, "record 3")


def test_lengths_are_checked_before_memory_is_taken():
    known = ByteStream(pieces_of(b"abc", 2), name="x", num_bytes=3)
    with pytest.raises(SourceError, match="record 3 would take 4 bytes, and at most 3 may follow"):
        known.take(4, "record 3")
    with pytest.raises(SourceError, match="would take"):
        ByteStream(iter([b"abc"]), name="x").take(MAX_INFLATED_RECORD + 1, "record 3")


@pytest.mark.parametrize("codec", COMPRESS)
@given(st.binary(max_size=2000), st.integers(1, 500), st.integers(1, 500))
def test_inflated(codec, data, size, piece):
    assert b"".join(inflate(pieces_of(COMPRESS[codec](data), size), name="x", codec=codec, piece_bytes=piece)) == data


def test_members_of_gzip_may_follow_one_another():
    data = gzip.compress(b"one") + gzip.compress(b"two") + bytes(20)
    assert b"".join(inflate(pieces_of(data, 7), name="x", codec="gzip")) == b"onetwo"
    with pytest.raises(SourceError, match="bytes follow the end"):
        list(inflate(iter([zlib.compress(b"one") + b"x"]), name="x", codec="zlib"))


@pytest.mark.parametrize("codec", COMPRESS)
def test_cut_short_anywhere(codec):
    data = COMPRESS[codec](DATA[:300])
    for stop in range(1, len(data)):
        with pytest.raises(SourceError, match=r"cut short|damaged"):
            list(inflate(pieces_of(data[:stop], 50), name="x", codec=codec))


@pytest.mark.parametrize("codec", COMPRESS)
def test_any_bit_flipped(codec):
    data = COMPRESS[codec](DATA[:300])
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                list(inflate(iter([bytes(damaged)]), name="x", codec=codec))
            except SourceError:
                continue


def test_a_bomb_is_inflated_a_piece_at_a_time():
    bomb = zlib.compress(bytes(1 << 26), 9)
    tracemalloc.start()
    total = sum(map(len, inflate(iter([bomb]), name="x", codec="zlib", piece_bytes=1 << 16)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1 << 26
    assert peak < 1 << 20


@given(st.lists(st.integers(0, 9000), max_size=30), st.integers(0, 500))
def test_runs_of_a_file_are_its_bytes(lengths, start):
    stream, at = RangeStream(MemoryStore({"x": DATA}), "x", start, len(DATA)), start
    for length in lengths:
        if at + length > len(DATA):
            with pytest.raises(SourceError, match="would take"):
                stream.take(length, "it")
            continue
        assert stream.take(length, "it") == DATA[at : at + length]
        at += length
        assert stream.offset == at
    assert stream.at_end() == (at == len(DATA))
    stream.take_padding(len(DATA))
    assert stream.at_end()
    assert stream.offset == len(DATA)

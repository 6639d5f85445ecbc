"""Records in a chain: read, found by their lengths, and told apart from damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.formats.byte_stream import ByteStream
from shardpack.sources.formats.tfrecord_file import (
    OVERHEAD,
    compression_of,
    encode_record,
    is_header,
    masked_crc32c,
    read_records,
    runs_of_records,
    skip,
)
from shardpack.storage.memory import MemoryStore

RECORDS = [b"one", b"", b"three" * 10]
DATA = b"".join(map(encode_record, RECORDS))


def read(data):
    stream = ByteStream(iter([data]), name="x", num_bytes=len(data))
    return [(offset, record if record is None else bytes(record)) for offset, record in read_records(stream, name="x")]


def test_the_bytes_are_those_of_the_layout():
    # "foo", as the documentation of TFRecord describes it: length, masked CRC32C, data, masked CRC32C.
    record = encode_record(b"foo")
    assert record[:8] == b"\3\0\0\0\0\0\0\0"
    assert record[12:15] == b"foo"
    assert len(record) == 3 + OVERHEAD
    # CRC32C of 32 zeros, RFC 3720 B.4, is 0x8a9136aa.
    assert masked_crc32c(bytes(32)) == ((0x8A9136AA >> 15 | 0x8A9136AA << 17) + 0xA282EAD8) & 0xFFFFFFFF


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 200))
def test_runs_cover_a_file(records, run_bytes):
    data = b"".join(map(encode_record, records))
    store = MemoryStore({"x": data})
    runs = runs_of_records(store, "x", run_bytes)
    assert [0, *(stop for _, stop, _ in runs)] == [*(start for start, _, _ in runs), len(data)]
    assert sum(count for _, _, count in runs) == len(records)
    found = [record for start, stop, _ in runs for _, record in read(data[start:stop])]
    assert found == records


def test_records_have_offsets():
    assert read(DATA) == [(0, b"one"), (19, b""), (35, RECORDS[2])]


def test_records_are_skipped():
    store = MemoryStore({"x": DATA})
    assert [skip(store, "x", count, start=0, stop=len(DATA)) for count in range(4)] == [0, 19, 35, len(DATA)]


def test_data_that_is_damaged_is_none_and_the_next_record_follows():
    damaged = bytearray(DATA)
    damaged[13] ^= 1
    assert read(bytes(damaged)) == [(0, None), (19, b""), (35, RECORDS[2])]


@pytest.mark.parametrize("stop", [stop for stop in range(len(DATA)) if stop not in (0, 19, 35)])
def test_cut_short_anywhere(stop):
    with pytest.raises(SourceError, match="cut short"):
        read(DATA[:stop])
    with pytest.raises(SourceError, match="cut short"):
        runs_of_records(MemoryStore({"x": DATA[:stop]}), "x", 1)


@pytest.mark.parametrize("at", range(len(DATA)))
def test_no_flipped_bit_goes_unnoticed(at):
    for bit in range(8):
        damaged = bytearray(DATA)
        damaged[at] ^= 1 << bit
        try:
            assert None in [record for _, record in read(bytes(damaged))]
        except SourceError:
            continue


def test_compression_is_told_by_the_first_bytes():
    assert compression_of(b"\x1f\x8b\x08\0") == "gzip"
    assert compression_of(b"\x78\x9c") == "zlib"
    assert compression_of(DATA[:12]) is None
    assert compression_of(b"") is None
    assert is_header(DATA)
    assert not is_header(DATA[:11])

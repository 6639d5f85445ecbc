"""RecordIO in a chain of parts: joined, found by their lengths, and told apart from damage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.byte_stream import ByteStream
from shardpack.sources.formats.recordio_file import MAGIC, parse_record, read_records, runs_of_records
from shardpack.storage.memory import MemoryStore


def part(flag, data):
    return MAGIC + struct.pack("<I", flag << 29 | len(data)) + data + bytes(-len(data) % 4)


def chain(data):
    """Return a record as MXNet writes it: cut at each mark that stands at a multiple of 4."""
    cuts = [at for at in range(0, len(data) - 3, 4) if data[at : at + 4] == MAGIC]
    if not cuts:
        return part(0, data)
    bounds = [(0, cuts[0])] + [(a + 4, b) for a, b in zip(cuts, [*cuts[1:], len(data)], strict=True)]
    flags = [1, *[2] * (len(bounds) - 2), 3]
    return b"".join(part(flag, data[a:b]) for flag, (a, b) in zip(flags, bounds, strict=True))


def labelled(payload, number=0, labels=None):
    if labels is None:
        return struct.pack("<IfQQ", 0, 5.0, number, 0) + payload
    return struct.pack(f"<IfQQ{len(labels)}f", len(labels), 0.0, number, 0, *labels) + payload


def read(data):
    stream = ByteStream(iter([data]), name="x", num_bytes=len(data))
    return [(offset, bytes(record)) for offset, record in read_records(stream, name="x")]


pieces = st.lists(st.sampled_from([MAGIC, b"abcd", b"x", b""]), max_size=6).map(b"".join)


@given(st.lists(pieces, max_size=8), st.integers(1, 100))
def test_records_come_back_whatever_they_hold(payloads, run_bytes):
    records = [labelled(payload, number) for number, payload in enumerate(payloads)]
    data = b"".join(map(chain, records))
    assert [record for _, record in read(data)] == records
    seen = []
    runs = runs_of_records(MemoryStore({"x": data}), "x", run_bytes, seen.append)
    assert seen == [number for number, payload in enumerate(payloads) if payload]
    assert sum(run.num_records for run in runs) == len(records)
    assert sum(run.num_rows for run in runs) == len(seen)
    assert [record for run in runs for _, record in read(data[run.start : run.stop])] == records
    assert [run.first for run in runs] == [sum(other.num_records for other in runs[:i]) for i in range(len(runs))]


def test_headers_hold_one_label_or_many():
    assert parse_record(labelled(b"image", 7)) == (7, [5.0], b"image")
    assert parse_record(labelled(b"image", 7, [1.0, 2.5])) == (7, [1.0, 2.5], b"image")
    with pytest.raises(DecodeError, match="5 bytes, expected at least the 24"):
        parse_record(b"short")
    with pytest.raises(DecodeError, match="expected at least 4052 for 1007 labels"):
        parse_record(struct.pack("<IfQQ", 1007, 0, 0, 0))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"nothing of it", "does not begin with the mark"),
        (part(4, b"abcd"), "flag 4"),
        (part(2, b"abcd"), "wrong order"),
        (part(1, b"abcd") + part(0, b"abcd"), "wrong order"),
        (part(1, b"abcd"), "cut short|would take"),
        (part(0, b"abcd")[:-1], "would take"),
    ],
)
def test_damage_is_named(data, says):
    with pytest.raises(SourceError, match=says):
        read(data)

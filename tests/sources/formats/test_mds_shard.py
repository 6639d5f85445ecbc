"""A shard of MDS: header, offsets, samples."""

from __future__ import annotations

import json
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.mds_shard import MAX_SHARD_BYTES, MdsReader, MdsShard, codec_of
from shardpack.storage.memory import MemoryStore

CONFIG = {"column_names": ["a", "n"], "column_encodings": ["str", "int"], "column_sizes": [None, 8]}


def shard_of(rows, config=CONFIG):
    """Return a shard of rows (text, number)."""
    samples = [struct.pack("<I", len(text)) + text + struct.pack("<q", number) for text, number in rows]
    text = json.dumps(config).encode()
    offsets = [8 + 4 * len(samples) + len(text)]
    for sample in samples:
        offsets.append(offsets[-1] + len(sample))
    return struct.pack(f"<I{len(offsets)}I", len(samples), *offsets) + text + b"".join(samples)


def reader_of(data, count, codec=None, num_bytes=None):
    num_bytes = len(data) if num_bytes is None else num_bytes
    return MdsReader(MemoryStore({"x": data}), MdsShard("x", count, num_bytes, codec))


@given(st.lists(st.tuples(st.text(max_size=20).map(str.encode), st.integers(-9, 9)), max_size=20), st.data())
def test_rows_come_back(rows, data):
    reader = reader_of(shard_of(rows), len(rows))
    first, stop = sorted(data.draw(st.integers(0, len(rows))) for _ in range(2))
    found = [(number, reader.values(sample)) for number, sample in reader.samples(first, stop)]
    assert found == [(i, {"a": rows[i][0].decode(), "n": rows[i][1]}) for i in range(first, stop)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\1", "cut short: expected 4 bytes, got 1"),
        (struct.pack("<I", 2), "2 samples, expected 1 by its index"),
        (struct.pack("<I", 1), "cut short"),
        (struct.pack("<3I", 1, 12, 8), "not ascending"),
        (struct.pack("<3I", 1, 12, 12), "what it says of its columns is damaged"),
        (shard_of([(b"a", 1)], {**CONFIG, "column_sizes": [None]}), "do not agree"),
        (shard_of([(b"a", 1)], {**CONFIG, "column_encodings": ["pkl", "int"]}), "column 'a': it is pickled"),
    ],
)
def test_damage_is_named(data, says):
    with pytest.raises(SourceError, match=says):
        reader_of(data, 1)


def test_a_sample_keeps_to_its_length():
    reader = reader_of(shard_of([(b"a", 1)]), 1)
    with pytest.raises(DecodeError, match="column 'a' ends at byte 13 of a sample of 4"):
        reader.values(struct.pack("<I", 9))
    with pytest.raises(DecodeError, match="expected at least 4"):
        reader.values(b"")


def test_compressed_shards_are_bounded():
    data = shard_of([(b"a", 1)])
    compress = zlib.compressobj(wbits=31)
    packed = compress.compress(data) + compress.flush()
    (sample,) = reader_of(packed, 1, "gz", len(data)).samples(0, 1)
    assert sample[0] == 0
    with pytest.raises(SourceError, match="expands to more than"):
        reader_of(packed, 1, "gz", len(data) - 1)
    with pytest.raises(SourceError, match="bytes to inflate, expected at most"):
        reader_of(packed, 1, "gz", MAX_SHARD_BYTES + 1)


def test_names_tell_the_compression():
    assert [codec_of(f"shard.00000.mds{suffix}") for suffix in ("", ".zstd", ".gz")] == [None, "zst", "gz"]
    with pytest.raises(SourceError, match="compressed as br"):
        codec_of("shard.00000.mds.br")

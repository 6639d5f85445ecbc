"""Compressed payloads: judged by `zstd`, `gzip` and the library; hostile ones stop before they take memory."""

from __future__ import annotations

import gzip
import shutil
import struct
import subprocess
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.compression import Compression, decompress, split_compression
from shardpack.codecs.decode import decode_field
from shardpack.errors import DecodeError, OptionError

MIB = 1 << 20
TEXT = b'{"label": 3, "class": "cat"}' * 100
with_zstd = pytest.importorskip("zstandard", reason="zstandard is not installed")


def frame(payload=TEXT, *, sized=True):
    """A frame by the library itself, as `zstd FILE` writes one, or as `... | zstd` does: without its size."""
    if sized:
        return with_zstd.ZstdCompressor(level=5, write_checksum=True).compress(payload)
    stream = with_zstd.ZstdCompressor().compressobj()
    return stream.compress(payload) + stream.flush()


def zeros(blocks, *, size=None):
    """A frame of RLE blocks of 128 KiB of zeros, 4 bytes each (RFC 8878, 3.1.1.2), by hand."""
    head = b"\x28\xb5\x2f\xfd"  # then: descriptor, window of 128 KiB or the content size
    head += b"\x00\x38" if size is None else b"\xe0" + struct.pack("<Q", size)
    block = (128 << 10) << 3 | 1 << 1
    return head + b"".join(struct.pack("<I", block | (i == blocks - 1))[:3] + b"\0" for i in range(blocks))


@pytest.mark.parametrize(
    ("field", "parts"),
    [
        ("json.zst", ("json", "zst")),
        ("a.npy.gz", ("a.npy", "gz")),
        ("json", ("json", None)),
        ("zst", ("zst", None)),
        ("json.bz2", ("json.bz2", None)),
    ],
)
def test_the_suffix_of_a_field(field, parts):
    assert split_compression(field) == parts


@given(st.binary(max_size=5000), st.integers(1, 22))
def test_round_trip(payload, level):
    compression = Compression(level)
    stored = compression.compress(payload)
    assert decompress("zst", stored, len(payload)) == payload
    assert with_zstd.ZstdDecompressor().decompress(stored) == payload
    assert stored == compression.compress(payload)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the program zstd is not installed")
def test_the_program_zstd_reads_ours_and_we_read_its(tmp_path):
    ours = tmp_path / "label.json.zst"
    ours.write_bytes(Compression(9).compress(TEXT))
    assert subprocess.run(["zstd", "-dc", ours], check=True, capture_output=True).stdout == TEXT
    for arguments in (["-19"], ["--no-check"], ["--long=27"]):
        its = subprocess.run(["zstd", "-c", *arguments], input=TEXT, check=True, capture_output=True).stdout
        assert decompress("zst", its) == TEXT


def test_many_frames_are_one_payload():
    skipped = struct.pack("<II", 0x184D2A50, 5) + b"notes"
    for parts in ([frame(), frame()], [frame(), frame(sized=False), skipped, frame(b"")], [skipped, frame()]):
        assert decompress("zst", b"".join(parts)) == TEXT * sum(
            part != skipped and part != frame(b"") for part in parts
        )
    assert decompress("gz", gzip.compress(TEXT) + gzip.compress(TEXT)) == TEXT * 2
    assert decompress("gz", gzip.compress(TEXT) + bytes(9)) == TEXT


@pytest.mark.parametrize("suffix", ["zst", "gz"])
def test_the_limit_is_exact(suffix):
    stored = (
        [gzip.compress(TEXT)] if suffix == "gz" else [frame(), frame(sized=False), frame(TEXT[:9]) + frame(TEXT[9:])]
    )
    for payload in stored:
        assert decompress(suffix, payload, len(TEXT)) == TEXT
        with pytest.raises(DecodeError, match=f"expands to more than {len(TEXT) - 1} bytes"):
            decompress(suffix, payload, len(TEXT) - 1)


@pytest.mark.parametrize(
    ("suffix", "payload"),
    [
        ("zst", zeros(3000)),  # 12 KB, 375 MiB
        ("zst", zeros(3000, size=3000 << 17)),
        ("zst", zeros(1, size=1 << 60)),
        ("zst", frame(b"a") + zeros(3000)),
        ("zst", zeros(3000) * 50),
        ("gz", gzip.compress(bytes(64 * MIB))),
    ],
)
def test_a_bomb_stops_at_the_limit(suffix, payload):
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="expands to more than 16777216 bytes"):
            decompress(suffix, payload, 16 * MIB)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_a_size_that_cannot_be_true_takes_no_memory():
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match=r"17 bytes cannot hold 1000000000"):
            decompress("zst", zeros(1, size=1_000_000_000))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", ["zst", "gz"])
def test_damage_is_an_error(suffix):
    stored = gzip.compress(TEXT) if suffix == "gz" else frame()
    flipped = bytearray(stored)
    flipped[-6] ^= 1
    for payload in (b"", b"x", TEXT, stored[:-1], stored[: len(stored) // 2], stored + b"garbage", bytes(flipped)):
        with pytest.raises(DecodeError):
            decompress(suffix, payload)
    if suffix == "zst":
        with pytest.raises(DecodeError, match="cut short"):
            decompress("zst", frame(sized=False)[:-1])


@given(st.sampled_from(["json.zst", "json.gz", "npy.zst"]), st.binary(max_size=100))
def test_garbage_decodes_or_raises_decode_error(field, payload):
    for start in (b"", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08\0"):
        with suppress(DecodeError):
            decode_field(field, start + payload)


@pytest.mark.parametrize(("text", "level"), [("zstd", 3), ("zstd:1", 1), ("zstd:22", 22)])
def test_options(text, level):
    assert Compression.parse(text) == Compression(level)


@pytest.mark.parametrize("text", ["", "zst", "gz", "zstd:", "zstd:0", "zstd:23", "zstd:-1", "zstd:3 ", 3, None])
def test_other_options_are_refused(text):
    with pytest.raises(OptionError, match=r"unknown compression .*; expected zstd, or zstd:LEVEL"):
        Compression.parse(text)


def test_a_description_has_what_decides_the_bytes():
    assert Compression(9).describe() == {
        "codec": "zstd",
        "level": 9,
        "zstandard": with_zstd.__version__,
        "libzstd": ".".join(map(str, with_zstd.ZSTD_VERSION)),
    }

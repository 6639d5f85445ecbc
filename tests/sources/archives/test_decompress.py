"""Compressed streams: those of the tools, in pieces, bounded, and never cut short silently."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os

import pytest
import zstandard

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.archives.decompress import decompressed
from shardpack.storage.memory import MemoryStore

CODECS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstandard.compress}
every_codec = pytest.mark.parametrize("codec", CODECS)
PLAIN = os.urandom(5000) + bytes(5000)


def read_all(data, **options):
    return b"".join(decompressed(MemoryStore({"x": data}), "x", **options))


@every_codec
def test_streams_one_behind_the_other(codec):
    compress = CODECS[codec]
    assert read_all(compress(PLAIN)) == PLAIN
    assert read_all(compress(PLAIN) + compress(b"") + compress(b"more")) == PLAIN + b"more"


def test_plain_files_are_as_they_are():
    assert read_all(PLAIN) == PLAIN
    assert read_all(b"") == b""


@every_codec
def test_pieces_are_bounded(codec):
    plain = bytes(100 << 20)
    sizes = [len(piece) for piece in decompressed(MemoryStore({"x": CODECS[codec](plain)}), "x")]
    assert sum(sizes) == len(plain)
    assert max(sizes) <= 40 << 20


@every_codec
def test_streams_truncated_at_every_offset_are_refused(codec):
    data = CODECS[codec](b"first") + CODECS[codec](b"second" * 30)
    between = len(CODECS[codec](b"first"))
    for length in range(6, len(data)):
        if length != between:
            with pytest.raises(SourceError, match=r"cut short|damaged"):
                read_all(data[:length])


@every_codec
def test_streams_with_a_changed_bit_are_read_or_refused(codec):
    data = CODECS[codec](b"second" * 30)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            read_all(bytes(changed))
        except ShardpackError as error:
            assert "copy" in str(error) or "decompress" in str(error)  # noqa: PT017 - of any, not of one that must come


def test_progress_counts_compressed_bytes():
    done = []
    data = gzip.compress(PLAIN)
    read_all(data, advance=done.append)
    assert sum(done) == len(data)


def test_other_codecs_are_named():
    with pytest.raises(SourceError, match="compressed with lz4; decompress it"):
        read_all(b"\x04\x22\x4d\x18" + bytes(20))

"""Frames are decompressed within what the index says; hostile ones take no memory."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest

from shardpack.errors import CorruptShardError
from shardpack.storage.frame_decoder import FrameDecoder
from tests.format.builders import judge_module
from tests.storage.framed import compressed

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def zstandard():
    return judge_module("zstandard")


def frame(zstandard, data, **options):
    return zstandard.ZstdCompressor(**options).compress(data)


def decode(data, num_bytes):
    return FrameDecoder().decode(data, num_bytes, "x.tar.zst", 77)


def test_what_a_frame_holds(zstandard):
    assert decode(frame(zstandard, DATA), len(DATA)) == DATA
    assert decode(memoryview(frame(zstandard, DATA) + b"behind it"), len(DATA)) == DATA
    assert decode(frame(zstandard, DATA, write_content_size=False), len(DATA)) == DATA
    assert decode(frame(zstandard, DATA, write_checksum=True), len(DATA)) == DATA


def test_hostile_frames_are_refused_before_they_take_memory(zstandard):
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    streamed = zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(1 << 26))
    damaged = bytearray(frame(zstandard, DATA))
    damaged[-5] ^= 255
    dictionary = zstandard.train_dictionary(1000, [b"%d" % i * 50 for i in range(1000)])
    cases = {
        "bomb": (bomb, 1000, "it holds 268435456 bytes, the index says 1000"),
        "bomb that does not tell": (streamed, 1000, "the index describes"),
        "fewer": (frame(zstandard, DATA), len(DATA) + 1, "the index says 10241"),
        "fewer, untold": (frame(zstandard, DATA, write_content_size=False), len(DATA) + 1, "the index describes"),
        "no frame": (b"junk" * 10, 40, "the index describes"),
        "nothing": (b"", 40, "the index describes"),
        "truncated": (frame(zstandard, DATA)[:-3], len(DATA), "the index describes"),
        "dictionary": (frame(zstandard, b"1234" * 9, dict_data=dictionary), 36, "ictionary"),
        "skippable": (b"\x50\x2a\x4d\x18\x04\0\0\0abcd", 40, "it holds 0 bytes"),
    }
    tracemalloc.start()
    try:
        for data, num_bytes, reason in cases.values():
            with pytest.raises(CorruptShardError, match=reason) as caught:
                decode(data, num_bytes)
            assert (caught.value.path, caught.value.offset) == ("x.tar.zst", 77)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_what_so_few_bytes_cannot_hold_takes_no_memory(zstandard):
    """The header of a frame may claim what an index claims, too."""
    claimed = 1 << 29
    hostile = b"\x28\xb5\x2f\xfd\xa0" + claimed.to_bytes(4, "little") + b"\x01\0\0"
    assert zstandard.frame_content_size(hostile) == claimed
    tracemalloc.start()
    try:
        with pytest.raises(CorruptShardError, match=r"12 bytes cannot hold 536870912"):
            decode(hostile, claimed)
        with pytest.raises(CorruptShardError, match=r"24 bytes cannot hold 1073741724"):
            run(hostile * 2, [0, 12], [claimed, claimed], claimed, claimed - 100)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    full = frame(zstandard, bytes(1 << 24))
    assert decode(full, 1 << 24) == bytes(1 << 24), "as well compressed as can be"


def test_frames_with_large_windows(zstandard):
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    long = compressor.compress(bytes(200 << 20))
    assert zstandard.get_frame_parameters(long).window_size > 128 << 20
    small = frame(zstandard, DATA)
    assert run(small + long, [0, len(small)], [len(DATA), 200 << 20], len(DATA)) == DATA
    streamed = compressor.compressobj()
    untold = streamed.compress(DATA) + streamed.flush()
    says = "needs a window of 256.0 MiB, more than 128.0 MiB; recompress it without --long"
    with pytest.raises(CorruptShardError, match=says) as caught:
        decode(untold, len(DATA))
    assert (caught.value.path, caught.value.offset) == ("x.tar.zst", 77)


def run(data, starts, lengths, length, skip=0):
    return FrameDecoder().decode_run(memoryview(data), starts, lengths, skip=skip, length=length, path="x", offset=5)


@pytest.mark.parametrize("content_size", [True, False])
def test_frames_one_behind_the_other(content_size):
    data, frames = compressed(DATA, content_size=content_size)
    starts, lengths = frames.stored[:-1].tolist(), (frames.plain[1:] - frames.plain[:-1]).tolist()
    assert run(data, starts, lengths, len(DATA)) == DATA
    assert run(data, starts[:4], lengths[:4], 3456) == DATA[:3456], "the last one may hold more"
    assert run(data, starts, lengths, len(DATA) - 700, 700) == DATA[700:]


def test_hostile_frames_one_behind_the_other(zstandard):
    bomb = frame(zstandard, bytes(1 << 28))
    small = frame(zstandard, DATA)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptShardError, match="it holds 268435456 bytes, the index says 1000") as caught:
            run(small + bomb, [0, len(small)], [len(DATA), 1000], len(DATA) + 1000)
        assert caught.value.offset == 5 + len(small)
        with pytest.raises(CorruptShardError, match="bytes less than the index says"):
            run(small, [0], [len(DATA)], len(DATA) + 1)
        with pytest.raises(CorruptShardError, match="the index describes"):
            run(small[:-1] + b"\xff" + small, [0, len(small)], [len(DATA), len(DATA)], 2 * len(DATA))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_pickles_without_its_decompressors(zstandard):
    decoder = FrameDecoder()
    decoder.decode(frame(zstandard, DATA), len(DATA), "x", 0)
    assert pickle.loads(pickle.dumps(decoder)).decode(frame(zstandard, DATA), len(DATA), "x", 0) == DATA

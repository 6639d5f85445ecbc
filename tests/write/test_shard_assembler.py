"""Tar bytes do not depend on buffers, the index is right about each member, and buffers are written in order."""

from __future__ import annotations

import gc
import io
import sys
import tarfile
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format import tar_header as tar
from shardpack.format.assemble import encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.shard_index import parse_index
from shardpack.write import shard_assembler as assembler_module
from shardpack.write.shard_assembler import Buffer, ShardAssembler, WriteBehind
from tests.strategies import BOUNDARY_SIZES, examples, member_names, payloads

members = st.dictionaries(member_names().map(str.encode), payloads(), min_size=1, max_size=12)


def assemble(samples, cuts, buffer=None):
    """Return the tar and index of one-field samples, appended in runs of these lengths."""
    written = bytearray()
    assembler = ShardAssembler(written.extend, buffer or Buffer())
    names, contents = list(samples), list(samples.values())
    sizes = np.array([len(payload) for payload in contents], np.int64)
    first = number = 0
    while first < len(names):
        stop = first + cuts[number % len(cuts)]

        def fill(views, part=contents[first:stop]):
            for payload, view in zip(part, views, strict=True):
                view[:] = payload

        assembler.append(names[first:stop], sizes[first:stop], fill)
        first, number = stop, number + 1
    keys = [name.decode() for name in names]
    index = assembler.finish(keys, np.arange(len(keys) + 1), np.zeros(len(keys), np.int64), ["bin"], sizes)
    return bytes(written), index


@given(members, st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_where_buffers_are_cut_changes_no_byte(samples, cuts):
    whole, index = assemble(samples, [len(samples)])
    cut, cut_index = assemble(samples, cuts)
    assert cut == whole
    assert b"".join(encode_shard("x", cut_index)[1]) == b"".join(encode_shard("x", index)[1])


@given(members)
def test_members_are_those_of_single_headers(samples):
    expected = b"".join(tar.header(name, len(data)) + data + bytes(-len(data) % 512) for name, data in samples.items())
    assert assemble(samples, [3])[0] == expected + tar.END_OF_ARCHIVE


@given(members)
def test_the_index_is_right(samples):
    written, index = assemble(samples, [2])
    assert (index.shard_bytes, index.shard_crc32c) == (len(written), crc32c(written))
    assert index.end_of_data == len(written) - len(tar.END_OF_ARCHIVE)
    assert index.keys() == [name.decode() for name in samples]
    for row, payload in enumerate(samples.values()):
        start, size = int(index.data_offset[row]), int(index.size[row])
        assert written[start : start + size] == payload
        assert index.crc32c[row] == crc32c(payload)
        header = written[start - int(index.header_bytes[row]) : start]
        assert header == tar.header(list(samples)[row], size)
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        assert [member.offset_data for member in archive] == index.data_offset.tolist()


@given(members)
def test_the_encoded_index_is_counted_and_checked(samples):
    _, index = assemble(samples, [4])
    info, parts = encode_shard("x", index)
    encoded = b"".join(parts)
    assert (len(encoded), crc32c(encoded)) == (info.index_bytes, info.index_crc32c)
    assert parse_index(encoded, name="x").keys() == index.keys()


@examples(30)
@given(st.lists(members, min_size=1, max_size=4))
def test_a_buffer_forgets_the_shard_before(shards):
    """Padding is zero even if the buffer was used before."""
    buffer = Buffer()
    for samples in shards:
        assert assemble(samples, [2], buffer)[0] == assemble(samples, [2])[0]


def test_padding_is_zero_after_a_larger_payload(monkeypatch):
    monkeypatch.setattr(assembler_module, "BUFFER_BYTES", 4096)
    buffer = Buffer()
    for size in (3000, 5000, 1, 2000, 513, 9000, 0, 7):
        written, _ = assemble({b"a": b"\xff" * size}, [1], buffer)
        assert written[512 + size : 512 + tar.padded(size)] == bytes(tar.padded(size) - size)


@given(members, st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_payloads_in_memory_give_the_same_bytes(samples, cuts):
    written = bytearray()
    assembler, names, contents = ShardAssembler(written.extend, Buffer()), list(samples), list(samples.values())
    sizes = np.array([len(payload) for payload in contents], np.int64)
    first = number = 0
    while first < len(names):
        stop = first + cuts[number % len(cuts)]
        assembler.append_payloads(names[first:stop], sizes[first:stop], contents[first:stop])
        first, number = stop, number + 1
    keys = [name.decode() for name in names]
    index = assembler.finish(keys, np.arange(len(keys) + 1), np.zeros(len(keys), np.int64), ["bin"], sizes)
    expected, expected_index = assemble(samples, [len(samples)])
    assert written == expected
    assert b"".join(encode_shard("x", index)[1]) == b"".join(encode_shard("x", expected_index)[1])


def test_what_is_joined_takes_two_buffers_by_turns():
    buffer = Buffer(1000)
    joined = [buffer.join([b"%d" % i * 400, bytes(600)], 1000) for i in range(2)]
    assert [bytes(view[:400]) for view in joined] == [b"0" * 400, b"1" * 400]
    addresses = [np.frombuffer(view, np.uint8).ctypes.data for view in joined]
    later = [buffer.join([b"x" * 10], 10) for _ in range(4)]
    assert [np.frombuffer(view, np.uint8).ctypes.data for view in later[2:]] == addresses
    assert bytes(buffer.join([b"y" * 2000], 2000)) == b"y" * 2000  # more than a buffer
    assert bytes(later[3]) == b"x" * 10


def test_memory_of_an_abandoned_buffer_is_collected_in_silence(recwarn):
    """With the views of it, and in a circle, as a writer that raised is."""
    gc.collect()  # what other tests have left may warn, and is not looked at here
    recwarn.clear()
    buffer = Buffer()
    circle = [buffer, buffer.join([b"a", b"b"], 2)]
    circle.append(circle)
    errors, before = [], sys.unraisablehook
    sys.unraisablehook = errors.append
    try:
        del buffer, circle
        gc.collect()
    finally:
        sys.unraisablehook = before
    assert errors == []
    assert not list(recwarn)


@pytest.mark.parametrize("size", [size for size in BOUNDARY_SIZES if size < 1 << 20])
@pytest.mark.parametrize("name", [b"a", b"n" * 100, b"n" * 101, b"p" * 155 + b"/" + b"n" * 100, b"n" * 700])
def test_boundaries(name, size):
    written, index = assemble({name: b"x" * size, b"next": b"y"}, [2])
    assert int(index.data_offset[0]) == int(index.header_bytes[0]) == tar.header_length(name, size)
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        assert [(member.name.encode(), member.size) for member in archive] == [(name, size), (b"next", 1)]


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=20))
def test_everything_is_written_in_order(parts):
    written = []
    with WriteBehind(lambda buffer: written.append(bytes(buffer))) as behind:
        for part in parts:
            behind.write(memoryview(part))
    assert written == parts


def test_two_buffers_are_enough():
    """A buffer may be filled again once the next one was taken: what is written does not change under it."""
    buffers, written = [bytearray(1), bytearray(1)], []

    def slowly(buffer):
        before = bytes(buffer)
        time.sleep(0.002)
        assert bytes(buffer) == before
        written.append(before)

    with WriteBehind(slowly) as behind:
        for i in range(20):
            buffers[i % 2][0] = i
            behind.write(memoryview(buffers[i % 2]))
    assert written == [bytes([i]) for i in range(20)]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_error_reaches_the_producer_and_nothing_more_is_written(number):
    tried = []

    def refuse(buffer):
        tried.append(bytes(buffer))
        if len(tried) == number:
            raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            for i in range(5):
                behind.write(memoryview(b"%d" % i))

    with pytest.raises(OSError, match="No space left"):
        produce()
    assert len(tried) == number


def test_an_error_is_not_lost_if_the_producer_tries_again():
    def refuse(_):
        raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            behind.write(memoryview(b"a"))
            for _ in range(3):
                with pytest.raises(OSError, match="No space left"):
                    behind.write(memoryview(b"b"))

    with pytest.raises(OSError, match="No space left"):
        produce()


def test_the_producers_own_error_wins():
    def refuse(_):
        raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            behind.write(memoryview(b"a"))
            raise LookupError("of the producer")

    with pytest.raises(LookupError, match="of the producer"):
        produce()


def test_dropped_without_leaving_its_thread_ends():
    threads = []

    def note(_):
        threads.append(threading.current_thread())

    behind = WriteBehind(note).__enter__()
    for _ in range(2):  # the second waits until the first is written
        behind.write(memoryview(b"a"))
    thread = threads[0]
    del behind
    gc.collect()
    thread.join(timeout=60)
    assert not thread.is_alive()


def test_leaving_waits_and_leaves_no_thread():
    threads = []

    def slowly(_):
        time.sleep(0.05)
        threads.append(threading.current_thread())

    with WriteBehind(slowly) as behind:
        behind.write(memoryview(b"a"))
    (thread,) = threads
    assert not thread.is_alive()


def test_a_buffer_gives_its_memory_back():
    buffer = Buffer(1000)
    views = [buffer.join([bytes(500)], 500) for _ in range(2)]
    buffer.release()
    buffer.release()
    for view in views:
        with pytest.raises(ValueError, match="released"):
            bytes(view)

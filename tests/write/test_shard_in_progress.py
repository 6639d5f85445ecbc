"""A shard in progress: equal bytes for any buffer, refused samples are not written, and its thread ends."""

from __future__ import annotations

import threading

import pytest

from shardpack.errors import DuplicateKeyError, FormatError
from shardpack.write.sample_shape import shape_of
from shardpack.write.shard_assembler import Buffer
from shardpack.write.shard_in_progress import ShardInProgress


class Written:
    """A file that keeps what a shard writes."""

    def __init__(self):
        self.content = b""

    def write(self, view):
        self.content += bytes(view)

    def discard(self):
        self.content = None


def shard_of(samples, buffer_bytes=4 << 20, flush_bytes=4 << 20):
    file = Written()
    shard = ShardInProgress("s.tar", file, Buffer(buffer_bytes))
    for key, fields in samples.items():
        shape = shape_of(tuple(fields), key=key)
        payloads = shape.payloads(fields)
        shard.add(key, shape, payloads, shape.tar_bytes(key, payloads))
        if shard.waiting_bytes >= flush_bytes:
            shard.flush()
    return shard.finish(), file.content


SAMPLES = {f"{i}": {"bin": bytes([i]) * 700 * i, **({"x.txt": b"x"} if i % 2 else {})} for i in range(8)}


@pytest.mark.parametrize("buffer_bytes", [1, 5000])
@pytest.mark.parametrize("flush_bytes", [1, 3000, 1 << 20])
def test_where_buffers_end_changes_nothing(buffer_bytes, flush_bytes):
    index, content = shard_of(SAMPLES, buffer_bytes, flush_bytes)
    assert content == shard_of(SAMPLES)[1]
    assert index.keys() == list(SAMPLES)
    assert index.fields == ("bin", "x.txt")


@pytest.mark.parametrize(("again", "says"), [("a", "written twice"), ("A", "differs in case only from 'a'")])
def test_a_key_is_refused_twice_also_in_another_case(again, says):
    shape = shape_of(("bin",), key="a")
    shard = ShardInProgress("s.tar", Written(), Buffer())
    shard.add("a", shape, [b""], 512)
    with pytest.raises(DuplicateKeyError, match=says) as caught:
        shard.add(again, shape, [b""], 512)
    assert (caught.value.shard, caught.value.key) == ("s.tar", again)
    shard.discard()


def test_the_same_string_twice_is_found():
    key = "a" * 3
    shape = shape_of(("bin",), key=key)
    shard = ShardInProgress("s.tar", Written(), Buffer())
    shard.add(key, shape, [b""], 512)
    with pytest.raises(DuplicateKeyError):
        shard.add(key, shape, [b""], 512)
    shard.discard()


def test_a_sample_with_too_many_fields_leaves_no_trace():
    shard = ShardInProgress("s.tar", Written(), Buffer())
    few, many = shape_of(("bin",), key="a"), shape_of(tuple(f"f{i}" for i in range(1 << 16)), key="a")
    shard.add("a", few, [b""], 512)
    with pytest.raises(FormatError, match=r"has 65537 names.*shard='s\.tar', key='b'"):
        shard.add("b", many, [b""] * (1 << 16), 512)
    shard.add("b", few, [b""], 512)
    index = shard.finish()
    assert (index.keys(), index.fields) == (["a", "b"], ("bin",))


def test_discarding_leaves_nothing():
    before, file = threading.enumerate(), Written()
    shard = ShardInProgress("s.tar", file, Buffer())
    shard.discard()
    assert file.content is None
    assert {*threading.enumerate()} <= {*before}  # one that another test has left may end meanwhile

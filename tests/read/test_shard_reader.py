"""One open shard: its samples and keys, where they are stored, and payloads cut out of buffers."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import CorruptShardError
from shardpack.format.shard_index import parse_index
from shardpack.read.shard_reader import ShardKeys, cut_samples
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, packed, write


@given(collections())
def test_samples_by_range(samples):
    for most in (1 << 20, 100):
        shard = open_dataset(CountingStore(packed(samples), most=most)).stream_input().cache.get(0)
        found = [shard.read(position, verify=True) for position in range(len(samples))]
        assert as_dicts(found) == expected(samples)


def test_one_range_a_sample():
    store = CountingStore(packed(numbered(4)))
    shard = open_dataset(store).stream_input().cache.get(0)
    store.taken()
    shard.read(2, verify=False)
    assert store.taken() == ["shard-000000.tar"]
    start, length = shard.extent(2)
    assert (start, length) == (store_start(shard, 2), store_end(shard, 2) - store_start(shard, 2))


def store_start(shard, row):
    return min(at.offset for at in shard.locate(row).fields.values())


def store_end(shard, row):
    return max(at.offset + at.size for at in shard.locate(row).fields.values())


def test_a_payload_that_is_not_what_was_packed():
    shard = open_dataset(CountingStore(packed(numbered(4)))).stream_input().cache.get(0)
    for member in range(8):
        with pytest.raises(CorruptShardError, match="is damaged: expected CRC32C") as caught:
            shard.check_payload(member, b"something else")
        assert caught.value.key == f"k/{member // 2:04d}"


def test_views_of_a_map_hold_the_payloads_and_the_map(tmp_path):
    samples = numbered(4)
    cache = shardpack.open(write(tmp_path / "out", samples)).stream_input().cache
    found = cache.read_views(2)
    assert (found.key, found.position) == ("k/0002", 2)
    assert all(type(payload) is memoryview and payload.readonly for payload in found.values())
    assert dict(found) == samples["k/0002"]
    cache.close()
    del cache
    gc.collect()
    assert dict(found) == samples["k/0002"]


def test_where_nothing_can_be_mapped_payloads_are_bytes(tmp_path):
    files = packed(numbered(4))
    verified = shardpack.open(write(tmp_path / "out", numbered(4)), verify=True).stream_input().cache
    mixed = shardpack.open(write(tmp_path / "mixed", {"a": {"txt": b"1"}, "b": {"cls": b"2"}})).stream_input().cache
    for cache in (open_dataset(CountingStore(files)).stream_input().cache, verified, mixed):
        assert all(type(payload) is bytes for payload in cache.read_views(1).values())


def test_a_map_is_another_reader_of_the_same_shard():
    shard = open_dataset(CountingStore(packed(numbered(4)))).stream_input().cache.get(0)
    mapped = shard.with_map(b"all of it")
    assert (shard.mapped, mapped.mapped, mapped.keys is shard.keys, len(mapped)) == (None, b"all of it", True, 4)


@pytest.mark.parametrize("detached", [False, True])
def test_keys_by_position(tmp_path, detached):
    samples = numbered(5)
    folder = write(tmp_path, {**samples, "last": {"bin": b""}})
    (path,) = [path for path in folder.rglob("*.index") if path.name.startswith("shard-") and "000000" in path.name]
    buffer = bytearray(path.read_bytes())
    keys = ShardKeys(parse_index(buffer, name="x"), 100)
    if detached:
        keys.detach()
        buffer[:] = bytes(len(buffer))
    assert [keys.key_at(100 + i).decode() for i in range(6)] == [*samples, "last"]
    assert keys.text_at(105) == "last"


@given(st.lists(st.lists(st.binary(max_size=9), min_size=3, max_size=3), max_size=8), st.integers(1, 3))
def test_many_at_once_are_those_one_by_one(payloads, width):
    fields = ("bin", "jpg", "json")[:width]
    buffers = [b"".join(row[:width]) for row in payloads]
    ends = [[sum(map(len, row[: column + 1])) for column in range(width)] for row in payloads]
    bounds = []
    for column in range(width):
        bounds.append([row[column - 1] if column else 0 for row in ends])
        bounds.append([row[column] for row in ends])
    positions = range(5, 5 + len(payloads))
    keys = [b"k%d" % i for i in positions]
    found = list(cut_samples(fields, buffers, bounds, positions, keys))
    assert [dict(sample) for sample in found] == [dict(zip(fields, row, strict=False)) for row in payloads]
    assert [(sample.position, sample.key) for sample in found] == [(i, f"k{i}") for i in positions]


def test_samples_are_cut_when_they_are_asked_for():
    samples = cut_samples(("a",), [b"12", None], [[0, 0], [1, 1]], [0, 1], [b"x", b"y"])
    assert next(samples)["a"] == b"1"
    with pytest.raises(TypeError):
        next(samples)

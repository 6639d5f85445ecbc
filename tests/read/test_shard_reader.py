"""One open shard: samples by range, and where they lie."""

from __future__ import annotations

import pytest
from hypothesis import given

from shardpack.dataset import open_dataset
from shardpack.errors import CorruptShardError
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, packed


@given(collections())
def test_samples_by_range(samples):
    for most in (1 << 20, 100):
        shard = open_dataset(CountingStore(packed(samples), most=most)).stream_source().shards.get(0)
        found = [shard.read(position, verify=True) for position in range(len(samples))]
        assert as_dicts(found) == expected(samples)


def test_one_range_a_sample():
    store = CountingStore(packed(numbered(4)))
    shard = open_dataset(store).stream_source().shards.get(0)
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
    shard = open_dataset(CountingStore(packed(numbered(4)))).stream_source().shards.get(0)
    for member in range(8):
        with pytest.raises(CorruptShardError, match="is damaged: expected CRC32C") as caught:
            shard.check_payload(member, b"something else")
        assert caught.value.key == f"k/{member // 2:04d}"


def test_a_map_is_another_reader_of_the_same_shard():
    shard = open_dataset(CountingStore(packed(numbered(4)))).stream_source().shards.get(0)
    mapped = shard.with_map(b"all of it")
    assert (shard.map, mapped.map, mapped.keys is shard.keys, len(mapped)) == (None, b"all of it", True, 4)

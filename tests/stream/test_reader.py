"""The reader: bounded in bytes, ahead as far as the store says, the same samples whatever the limits."""

from __future__ import annotations

import tracemalloc

import pytest

import shardpack
from shardpack.order.options import SHUFFLES, Shuffle
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.limits import MAX_PART_BYTES, ReadLimits
from shardpack.stream.stream import Stream
from tests.read.datasets import CountingStore, as_dicts, numbered, packed
from tests.stream.remote_stores import HeldStore

FILES = packed(numbered(800, size=5000), max_shard_samples=200)


class FewAtOnceStore(HeldStore):
    """A store that is worth reading four loads ahead from."""

    prefetch_depth = 4

    def __init__(self, objects, at_once=1):
        super().__init__(objects, at_once=at_once)


def shard_bytes(store):
    return sum(length for path, _, length in store.calls if path.endswith(".tar"))


@pytest.mark.parametrize("mode", SHUFFLES)
@pytest.mark.parametrize("memory_bytes", [1, 100_000, 1 << 30])
@pytest.mark.parametrize("store", [CountingStore, FewAtOnceStore])
def test_limits_change_no_sample(mode, memory_bytes, store):
    expected = as_dicts(list(shardpack.open(CountingStore(FILES)).stream(shuffle=mode, block_bytes=40_000)))
    ds = shardpack.open(store(FILES))
    found = ds.stream(shuffle=mode, block_bytes=40_000, memory_bytes=memory_bytes)
    assert as_dicts(list(found)) == expected


def test_memory_is_bounded_however_many_partitions_and_blocks_are_mixed():
    """64 partitions of 64 blocks each hold everything if they may."""
    files, peaks = packed(numbered(3000, size=6000), max_shard_samples=1000), {}
    for memory_bytes in (1 << 20, 1 << 30):
        ds = shardpack.open(FewAtOnceStore(files))
        stream = ds.stream(
            shuffle="blocks", block_bytes=20_000, partitions=64, window_blocks=4096, memory_bytes=memory_bytes
        )
        ds.get_many(range(0, 3000, 1000))  # indexes are open from now on
        tracemalloc.start()
        try:
            for _ in stream:
                pass
            peaks[memory_bytes] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks[1 << 20] < (1 << 20) + 2.5 * MAX_PART_BYTES < 16e6 < peaks[1 << 30]


def test_a_load_beyond_the_budget_is_read_all_the_same_if_it_is_alone():
    store = FewAtOnceStore(packed({"a": {"bin": bytes(300_000)}, "b": {"bin": b"b"}}))
    found = list(shardpack.open(store).stream(shuffle="blocks", memory_bytes=1))
    assert sorted(len(sample["bin"]) for sample in found) == [1, 300_000]


def test_a_store_says_how_many_threads_read():
    store = FewAtOnceStore(FILES, at_once=4)
    assert len(list(shardpack.open(store).stream(shuffle="blocks", block_bytes=20_000, partitions=1))) == 800
    assert store.together.is_set()
    assert store.most_under_way == 4
    store = FewAtOnceStore(FILES)
    ds = shardpack.open(store)
    epochs = DatasetEpochs(ds.stream_input(), Shuffle("blocks", 0, 20_000), ReadLimits(threads=1))
    assert len(list(Stream(epochs))) == 800
    assert store.most_under_way == 1


def test_every_block_is_read_once():
    store = FewAtOnceStore(FILES)
    assert len(list(shardpack.open(store).stream(shuffle="blocks", block_bytes=20_000, partitions=8))) == 800
    assert shard_bytes(store) < 1.01 * sum(len(data) for name, data in FILES.items() if name.endswith(".tar"))


@pytest.mark.parametrize(("world_size", "most"), [(1, 8), (2, 8), (4, 20)])
def test_a_small_dataset_takes_about_a_request_a_block(world_size, most):
    """64 partitions cut its 8 blocks, and belong to the ranks in turn."""
    files = packed(numbered(400, size=3000), max_shard_samples=50)
    keys = []
    for rank in range(world_size):
        store = FewAtOnceStore(files)
        stream = shardpack.open(store).stream(
            shuffle="blocks", partitions=64, rank=rank, world_size=world_size, tail="exact"
        )
        keys += [sample.key for sample in stream]
        assert len([path for path, *_ in store.calls if path.endswith(".tar")]) <= most
    assert sorted(keys) == sorted(numbered(400))


@pytest.mark.parametrize("partitions", [3, 8, 16, 64])
def test_no_block_of_a_small_dataset_is_read_twice(partitions):
    """However many blocks a partition has; borders cut some of them."""
    store = FewAtOnceStore(FILES)
    stream = shardpack.open(store).stream(shuffle="blocks", block_bytes=40_000, window_blocks=4, partitions=partitions)
    assert len(list(stream)) == len(list(stream)) == 800
    tars = [(start, length) for path, start, length in store.calls if path.endswith(".tar")]
    assert len(tars) <= 2 * 132 * 1.12, "6 samples a block, 33 blocks a shard"

"""Streaming from a remote store: the same samples in the same order, blocks read once, nothing left behind."""

from __future__ import annotations

import gc
import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.order.options import SHUFFLES, Shuffle
from shardpack.storage.memory import MemoryStore
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.limits import ReadLimits
from shardpack.stream.stream import Stream
from tests.read.datasets import as_dicts, numbered, packed
from tests.strategies import examples
from tests.stream.remote_stores import SECONDS_TO_WAIT, HeldStore, RemoteStore

FILES = packed(numbered(600, size=3000), max_shard_samples=150)
TAR_BYTES = sum(len(data) for name, data in FILES.items() if name.endswith(".tar"))
THERE_BEFORE = []  # threads that other tests have left hanging


def shard_calls(store):
    return [call for call in store.calls if call[0].endswith(".tar")]


@pytest.fixture(autouse=True)
def threads_before():
    THERE_BEFORE[:] = threading.enumerate()


def reading_threads():
    """Return our threads that this test has started."""
    return [t for t in threading.enumerate() if t.name.startswith("shardpack") and t not in THERE_BEFORE]


def wait_for_no_threads():
    stop = time.monotonic() + SECONDS_TO_WAIT
    while reading_threads() and time.monotonic() < stop:
        time.sleep(0.01)
    assert not reading_threads()


@examples(40)
@given(
    mode=st.sampled_from(SHUFFLES),
    world_size=st.sampled_from([1, 2, 3]),
    partitions=st.sampled_from([None, 6]),
    block_bytes=st.sampled_from([4096, 20_000, 1 << 20]),
    window_blocks=st.integers(1, 5),
    tail=st.sampled_from(["pad", "drop", "exact"]),
    view=st.booleans(),
    taken=st.integers(0, 40),
)
def test_remote_and_local_streams_are_the_same(  # noqa: PLR0917 - hypothesis passes by keyword
    mode, world_size, partitions, block_bytes, window_blocks, tail, view, taken
):
    samples = {
        **numbered(40, size=900),
        **{f"z{i}": {"bin": b"%d" % i} | ({"cls": b"1"} if i % 3 else {}) for i in range(11)},
    }
    files = packed(samples, max_shard_samples=13)
    found = []
    for store in (MemoryStore(files), RemoteStore(files)):
        ds = shardpack.open(store)
        ds = ds.select(np.arange(49, 5, -2)) if view else ds
        for rank in range(world_size):
            stream = ds.stream(
                shuffle=mode, rank=rank, world_size=world_size, partitions=partitions, tail=tail,
                block_bytes=block_bytes, window_blocks=window_blocks,
            )  # fmt: skip
            stream.load_state_dict(stream.state_at(min(taken, len(stream))))
            found.append(as_dicts(list(stream)))
            stream.rewind()
            found.append([as_dicts(step) for step in stream.steps(1, stride=2)])
    half = len(found) // 2
    assert found[:half] == found[half:]


@pytest.mark.parametrize("mode", ["none", "shards", "blocks"])
def test_every_byte_is_fetched_once_in_long_requests(mode):
    store = RemoteStore(FILES)
    ds = shardpack.open(store)
    assert len(list(ds.stream(shuffle=mode, block_bytes=100_000))) == 600
    stats = ds.stats()
    fetched = sum(length for _, _, length in shard_calls(store))
    assert fetched <= TAR_BYTES * 1.01
    assert len(shard_calls(store)) <= TAR_BYTES // 50_000
    assert stats.bytes_used == sum(len(payload) for sample in ds.get_many(range(600)) for payload in sample.values())


def test_workers_share_large_samples_out_and_fetch_nothing_twice():
    files = packed({f"{i:03d}": {"bin": bytes([i]) * 70_000} for i in range(64)})
    used = 0
    for worker in range(2):
        store = RemoteStore(files)
        stream = shardpack.open(store).stream(shuffle="blocks", block_bytes="1MiB", window_blocks=2, batch_size=4)
        steps = list(stream.steps(worker, stride=2))
        used += sum(len(step) for step in steps)
        assert sum(length for _, _, length in shard_calls(store)) <= 32 * 71_000
    assert used == 64


@pytest.mark.parametrize("mode", SHUFFLES)
def test_requests_overlap_and_the_first_sample_is_out_before_the_read_ahead_is_full(mode):
    store = HeldStore(FILES, at_once=4, going=False)
    source = shardpack.open(store).stream_input()
    stream = Stream(DatasetEpochs(source, Shuffle(mode, 0, 50_000, 8), ReadLimits(part_samples=32)))
    iterator = iter(stream)
    next(iterator)
    assert len(shard_calls(store)) <= 2
    store.go_on.set()
    assert len(list(iterator)) == 599
    assert store.together.is_set()


@pytest.mark.parametrize("mode", SHUFFLES)
def test_nothing_is_left_behind(mode):
    store = RemoteStore(FILES, seconds=0.002)
    stream = shardpack.open(store).stream(shuffle=mode, block_bytes=50_000, window_blocks=4)
    for number in (1, 5, 300):
        for _ in itertools.islice(stream, number):
            pass
        gc.collect()
        wait_for_no_threads()
    iterator = iter(stream)
    next(iterator)
    del iterator
    gc.collect()
    wait_for_no_threads()
    list(stream)
    wait_for_no_threads()


class FailingStore(RemoteStore):
    """Fails for one range of bytes."""

    broken = (b"", 0)

    def get_range(self, path, *, start, length):
        data = super().get_range(path, start=start, length=length)
        if (path, start <= self.broken[1] < start + length) == (self.broken[0], True):
            raise StorageError("the network is gone", path=path)
        return data


@pytest.mark.parametrize("mode", SHUFFLES)
def test_a_broken_network_is_an_error_and_the_stream_goes_on_from_there(mode):
    store = FailingStore(FILES)
    ds = shardpack.open(store)
    stream = ds.stream(shuffle=mode, block_bytes=50_000, window_blocks=4)
    whole = [sample.position for sample in stream]
    store.broken = ("shard-000002.tar", 200_000)
    seen = []
    with pytest.raises(StorageError, match="the network is gone"):  # noqa: PT012
        for sample in stream:
            seen.append(sample.position)  # noqa: PERF401 - what came before the error counts
    wait_for_no_threads()
    assert seen == whole[: len(seen)]
    state = stream.state_dict()
    store.broken = ("", 0)
    stream.load_state_dict(state)
    assert seen + [sample.position for sample in stream] == whole


@pytest.mark.parametrize("mode", SHUFFLES)
def test_a_damaged_sample_is_named_and_all_before_it_come(mode):
    span = next(e for e in shardpack.open(MemoryStore(FILES)).entries() if e.position == 333)
    shard = bytearray(FILES[span.shard])
    shard[span.fields["bin"].offset + 9] ^= 1
    ds = shardpack.open(RemoteStore({**FILES, span.shard: bytes(shard)}))
    stream = ds.stream(shuffle=mode, block_bytes=50_000, window_blocks=4)
    whole = [
        s.position for s in shardpack.open(MemoryStore(FILES)).stream(shuffle=mode, block_bytes=50_000, window_blocks=4)
    ]
    seen = []
    with pytest.raises(CorruptShardError, match="field 'bin' is damaged") as caught:  # noqa: PT012
        for sample in stream:
            seen.append(sample.position)  # noqa: PERF401 - what came before the error counts
    assert caught.value.key == span.key
    assert seen == whole[: whole.index(333)]


def test_mixes_are_the_same_and_read_ahead():
    local, remote = MemoryStore(FILES), HeldStore(FILES, at_once=2)
    found = []
    for store in (local, remote):
        ds = shardpack.open(store)
        stream = shardpack.mix([(ds, 2), (ds.select(range(100)), 1)], seed=3, stop="all", block_bytes=50_000)
        found.append([(sample.source, *as_dicts([sample])) for sample in stream])
    assert found[0] == found[1]
    assert remote.together.is_set()
    wait_for_no_threads()


def test_a_block_too_long_to_be_kept_costs_the_others_nothing():
    """A huge sample amid small ones is read by itself; its neighbours of other blocks still come from theirs."""
    samples = {**numbered(300, size=3000), "k/0100": {"bin": bytes(600_000), "json": b"{}"}}
    store = RemoteStore(packed(samples, max_shard_samples=50), gap=0)
    ds = shardpack.open(store)
    found = list(ds.stream(shuffle="blocks", block_bytes=50_000, window_blocks=6))
    assert sorted(sample.position for sample in found) == list(range(300))
    assert len(found[0]) == 2
    assert len(shard_calls(store)) < 120, "blocks, and the samples of a few"
    assert sum(length for _, _, length in shard_calls(store)) < 1.02 * ds.manifest.num_bytes


def test_shards_of_other_fields_stream_too():
    samples = {**numbered(60, size=500), **{f"other/{i}": {"txt": b"%d" % i} for i in range(40)}}
    for mode in SHUFFLES:
        found = [
            as_dicts(list(shardpack.open(store).stream(shuffle=mode, block_bytes=4000, window_blocks=5)))
            for files in [packed(samples, max_shard_samples=20)]
            for store in (MemoryStore(files), RemoteStore(files))
        ]
        assert found[0] == found[1]
        assert len(found[0]) == 100


@pytest.mark.parametrize("mode", SHUFFLES)
def test_an_index_is_fetched_once_however_many_threads_want_it(mode):
    store = RemoteStore(FILES, seconds=0.005)
    ds = shardpack.open(store)
    assert len(list(ds.stream(shuffle=mode, block_bytes=30_000, window_blocks=8))) == 600
    indexes = [path for path, _, _ in store.calls if path.startswith(".shardpack/index/")]
    assert len(indexes) == len(set(indexes)) == 4


def test_unwanted_fields_are_not_read():
    store = RemoteStore(FILES)
    ds = shardpack.open(store)
    for _ in ds.stream(shuffle="blocks", fields=["json"], block_bytes=50_000, window_blocks=4):
        pass
    ds.get_many(range(100), fields=["json"])
    assert sum(length for _, _, length in shard_calls(store)) == sum(
        len(sample["json"]) for samples in (ds, ds.select(range(100))) for sample in samples.stream(fields=["json"])
    )


def test_a_missing_shard_is_told_where_its_first_sample_would_come():
    files = {name: data for name, data in FILES.items() if name != "shard-000002.tar"}
    for mode in ("none", "blocks"):
        whole = [s.position for s in shardpack.open(MemoryStore(FILES)).stream(shuffle=mode, block_bytes=50_000)]
        seen = []
        with pytest.raises(ShardNotFoundError):  # noqa: PT012
            for sample in shardpack.open(RemoteStore(files)).stream(shuffle=mode, block_bytes=50_000):
                seen.append(sample.position)  # noqa: PERF401 - what came before the error counts
        assert seen == whole[: next(n for n, position in enumerate(whole) if 300 <= position < 450)]

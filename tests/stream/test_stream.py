"""One epoch: each sample once, in an order that is a pure function of seed and epoch."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, OptionError
from shardpack.order.options import SHUFFLES
from shardpack.storage.memory import MemoryStore
from shardpack.stream.limits import MAX_PART_BYTES
from tests.read.datasets import CountingStore, as_dicts, collections, descriptors, expected, numbered, packed, write
from tests.strategies import examples

SAMPLES = numbered(21)
GOLDEN = {  # (seed, epoch) -> order of eleven shards
    (0, 0): [1, 4, 6, 3, 7, 2, 9, 10, 5, 8, 0],
    (0, 1): [1, 10, 5, 9, 8, 0, 7, 2, 4, 6, 3],
    (0, 1000): [3, 7, 10, 8, 0, 5, 4, 2, 1, 9, 6],
    (1, 0): [4, 0, 8, 3, 9, 7, 5, 6, 10, 1, 2],
    (-1, 0): [9, 7, 3, 6, 8, 2, 4, 0, 5, 1, 10],
}


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    return shardpack.open(write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=2))


def positions(stream):
    return [sample.position for sample in stream]


@examples(40)
@given(collections(), st.integers(1, 4), st.integers(-(2**70), 2**70), st.integers(0, 5))
def test_each_sample_once_shards_whole_same_every_time(samples, per_shard, seed, epoch):
    ds = shardpack.open(CountingStore(packed(samples, max_shard_samples=per_shard)))
    stream = ds.stream(shuffle="shards", seed=seed)
    stream.set_epoch(epoch)
    found = as_dicts(list(stream))
    assert len(stream) == len(samples)
    assert sorted(found, key=lambda sample: sample[1]) == expected(samples)
    assert as_dicts(list(stream)) == found, "iterating again gives the same"
    other = ds.stream(shuffle="shards", seed=seed)
    other.set_epoch(epoch)
    assert as_dicts(list(other)) == found
    shards = [position // per_shard for _, position, _ in found]
    assert len(list(itertools.groupby(shards))) == len(ds.shards), "a shard's samples stay together"
    for _, group in itertools.groupby(found, key=lambda sample: sample[1] // per_shard):
        rows = [position for _, position, _ in group]
        assert rows == sorted(rows), "and in stored order"


def test_golden_orders(ds):
    """The order is part of the format: these numbers never change."""
    for (seed, epoch), shards in GOLDEN.items():
        stream = ds.stream(shuffle="shards", seed=seed)
        stream.set_epoch(epoch)
        assert [position // 2 for position in positions(stream) if position % 2 == 0] == shards


def test_epochs_differ_and_stay(ds):
    stream = ds.stream(shuffle="shards", seed=5)
    first = positions(stream)
    stream.set_epoch(1)
    second = positions(stream)
    stream.set_epoch(0)
    assert first != second
    assert positions(stream) == first


def test_stored_order_knows_no_seed(ds):
    stream = ds.stream(seed=5)
    stream.set_epoch(3)
    assert positions(stream) == list(range(21))


def test_an_epoch_that_is_running_is_not_changed(ds):
    stream = ds.stream(shuffle="shards")
    whole = positions(stream)
    running = iter(stream)
    head = [next(running).position for _ in range(3)]
    stream.set_epoch(1)
    assert head + [sample.position for sample in running] == whole


def test_two_iterators_do_not_disturb_each_other(ds):
    stream = ds.stream(shuffle="shards")
    pairs = list(zip(stream, stream, strict=True))
    assert all(a == b and a.position == b.position for a, b in pairs)
    assert len(pairs) == 21


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"shuffle": "all"}, "shuffle is 'all'; choose 'none', 'shards'"),
        ({"shuffle": None}, "shuffle is None"),
        ({"seed": 1.5}, "seed is 1.5, expected an integer"),
        ({"seed": None}, "seed is None, expected an integer"),
        ({"seed": "1"}, "seed is '1', expected an integer"),
        ({"rank": 1}, "rank is 1, expected 0 <= rank < world_size"),
        ({"world_size": 0}, "world_size is 0"),
        ({"world_size": 2.0}, "world_size is 2.0, expected an integer"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": "4"}, "batch_size is '4', expected an integer"),
        ({"batch_size": 3, "partitions": 2}, "a global batch of 3 does not divide into 2 partitions"),
        ({"partitions": 0}, "partitions is 0"),
        ({"partitions": 3, "world_size": 2}, "3 partitions cannot be divided evenly between 2 ranks"),
        ({"tail": "wrap"}, "tail is 'wrap'; choose one of"),
    ],
)
def test_options_are_checked_at_once(ds, options, text):
    with pytest.raises(OptionError, match=text):
        ds.stream(**options)


@pytest.mark.parametrize(("epoch", "text"), [(-1, "of at least 0"), (0.0, "an integer"), (None, "an integer")])
def test_epochs_are_checked_at_once(ds, epoch, text):
    stream = ds.stream(shuffle="shards", seed=np.int64(-3))
    with pytest.raises(OptionError, match=text):
        stream.set_epoch(epoch)
    assert positions(stream) == positions(ds.stream(shuffle="shards", seed=-3))
    stream.set_epoch(np.int64(2))
    assert stream.epoch == 2


def test_samples_larger_than_a_run(tmp_path):
    samples = {"a": {"bin": bytes(5 << 20)}, "b": {"bin": b"b"}, "c": {"bin": b"c" * (9 << 20), "json": b"{}"}}
    ds = shardpack.open(write(tmp_path, samples))
    assert as_dicts(list(ds.stream())) == expected(samples)


def test_an_early_break_leaves_no_descriptor(tmp_path):
    write(tmp_path, SAMPLES, max_shard_samples=2)
    ds = shardpack.open(tmp_path)
    for sample in ds.stream(shuffle="shards"):
        if sample.position == 7:
            break
    iterator = iter(ds)
    next(iterator)
    del iterator, ds, sample
    gc.collect()
    assert descriptors(tmp_path) == 0


@pytest.mark.parametrize("mode", SHUFFLES)
def test_memory_is_one_chunk(tmp_path, mode):
    """Also where sizes are uneven: a few samples hold most of the bytes, side by side."""
    samples = {f"{i:04d}": {"bin": bytes(1 << 20 if 100 <= i < 140 else 2000)} for i in range(400)}
    ds = shardpack.open(write(tmp_path, samples))
    positions(ds.stream(shuffle=mode))  # warm up
    tracemalloc.start()
    try:
        for _ in ds.stream(shuffle=mode):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * MAX_PART_BYTES, "a chunk, and what it is cut from"


@pytest.mark.parametrize("mode", SHUFFLES)
@pytest.mark.parametrize("fields", [None, ["json"], ["bin", "json"], ["cls"]])
def test_streamed_samples_are_those_at_their_positions(mode, fields):
    """In every order, for dense and sparse shards, wanted fields only, checked or not."""
    sparse = {f"z{i}": {"bin": b"%d" % i, **({"cls": b"1"} if i % 3 else {})} for i in range(11)}
    files = packed({**numbered(30), **sparse}, max_shard_samples=9)
    for store in (MemoryStore(files), CountingStore(files, gap=512)):
        ds = shardpack.open(store)
        found = list(ds.stream(shuffle=mode, fields=fields, block_bytes=4096, window_blocks=3))
        assert as_dicts(found) == as_dicts(ds.get_many([sample.position for sample in found], fields=fields))
        assert len(found) == 41


def test_a_damaged_sample_stops_the_stream_there_and_the_rest_can_be_had():
    files = packed(numbered(40), max_shard_samples=8)
    position = 21
    span = next(e for e in shardpack.open(MemoryStore(files)).entries() if e.position == position)
    shard = bytearray(files[span.shard])
    shard[span.fields["bin"].offset] ^= 1
    ds = shardpack.open(CountingStore({**files, span.shard: bytes(shard)}))
    for mode in SHUFFLES:
        options = {"shuffle": mode, "block_bytes": 4096, "window_blocks": 2}
        whole = positions(shardpack.open(MemoryStore(files)).stream(**options))
        stream, seen = ds.stream(**options), []
        with pytest.raises(CorruptShardError, match="field 'bin' is damaged") as caught:  # noqa: PT012
            for sample in stream:
                seen.append(sample.position)  # noqa: PERF401 - what came before the error counts
        assert (caught.value.shard, caught.value.key) == (span.shard, span.key)
        at = whole.index(position)
        assert seen == whole[:at], "all before it have been handed out"
        taken = stream.state_dict()["rank_samples"]
        assert taken == at
        stream.load_state_dict(stream.state_at(taken + 1))
        assert positions(stream) == whole[at + 1 :]


def test_the_first_sample_costs_no_window():
    files = packed(numbered(300, size=5000))
    store = CountingStore(files, gap=0)
    ds = shardpack.open(store)
    assert next(iter(ds.stream())) is not None
    store.calls.clear()
    assert next(iter(ds.stream(shuffle="blocks", block_bytes=90_000))) is not None
    assert sum(length for _, _, length in store.calls) < 100_000, "a block"


@pytest.mark.slow
@pytest.mark.parametrize("mode", SHUFFLES)
def test_fifty_epochs_with_early_breaks_leave_nothing(tmp_path, mode):
    """Descriptors, threads and memory stay flat, after breaks, errors in the consumer and dropped iterators."""
    ds = shardpack.open(write(tmp_path, numbered(2000, size=8000), max_shard_samples=100))
    stream = ds.stream(shuffle=mode, block_bytes="64KiB", window_blocks=4)

    def private_bytes():  # pages of mapped files come and go as the system likes
        with open("/proc/self/statm", encoding="ascii") as file:
            _, resident, shared, *_ = map(int, file.read().split())
        return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

    def our_threads():
        return sum(thread.name.startswith("shardpack-") for thread in threading.enumerate())

    figures = []
    assert len(positions(stream)) == 2000  # each shard is open from now on
    for epoch in range(50):
        stream.set_epoch(epoch)
        with contextlib.suppress(ZeroDivisionError):
            for number, _ in enumerate(stream):
                if number == 20 * epoch:
                    break
                1 / (number - 900)  # an error in the consumer
        iterator = iter(stream)
        next(iterator)
        next(stream.steps(3))
        del iterator
        figures.append((descriptors(tmp_path), our_threads(), private_bytes()))
    assert {figure[:2] for figure in figures[25:]} == {figures[25][:2]}
    assert figures[-1][2] - figures[25][2] < 8 << 20


def test_what_cannot_be_pickled_says_what_can(tmp_path):
    ds = shardpack.open(write(tmp_path, SAMPLES))
    for made in (ds.stream(), ds.loader(2), shardpack.mix([(ds, 1), (ds, 1)], stop="all")):
        with pytest.raises(TypeError, match=r"nor streams and loaders.*shardpack\.torch\.StreamDataset"):
            pickle.dumps(made)

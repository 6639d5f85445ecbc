"""One epoch: each sample once, in an order that is a pure function of seed and epoch."""

from __future__ import annotations

import gc
import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, packed, write

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


@settings(max_examples=40)
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
        ({"shuffle": "all"}, "shuffle is 'all'; choose one of 'none', 'shards'"),
        ({"shuffle": None}, "shuffle is None"),
        ({"seed": 1.5}, "seed is 1.5, expected an integer"),
        ({"seed": None}, "seed is None, expected an integer"),
        ({"seed": "1"}, "seed is '1', expected an integer"),
    ],
)
def test_options_are_checked_at_once(ds, options, text):
    with pytest.raises(OptionError, match=text):
        ds.stream(**options)


@pytest.mark.parametrize(("epoch", "text"), [(-1, "numbered from 0"), (0.0, "an integer"), (None, "an integer")])
def test_epochs_are_checked_at_once(ds, epoch, text):
    stream = ds.stream(shuffle="shards", seed=np.int64(-3))
    with pytest.raises(OptionError, match=text):
        stream.set_epoch(epoch)
    assert positions(stream) == positions(ds.stream(shuffle="shards", seed=-3))
    stream.set_epoch(np.int64(2))


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
    open_files = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")[:-1]]
    assert not [path for path in open_files if path.startswith(str(tmp_path))]


def test_memory_is_one_run(tmp_path):
    import tracemalloc

    samples = {f"{i:04d}": {"bin": bytes(100_000)} for i in range(400)}
    ds = shardpack.open(write(tmp_path, samples))
    tracemalloc.start()
    try:
        for _ in ds.stream():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * (4 << 20)

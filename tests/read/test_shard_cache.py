"""What is kept open: indexes by bytes, maps by number; what was not used recently is evicted first."""

from __future__ import annotations

import os
import pickle
import threading
import time

import pytest

from shardpack.dataset import open_dataset
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.local import LocalStore
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed, shards_open, write

SAMPLES = numbered(120)


@pytest.fixture(scope="module")
def files():
    return packed(SAMPLES, max_shard_samples=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cache") / "ds", SAMPLES, max_shard_samples=3)


def indexes(paths):
    return [path for path in paths if path.endswith(".index") and "shard-0000" in path]


def held_bytes(store):
    cache = open_dataset(store).stream_input().cache
    return cache.get(0).held_bytes


def test_a_parsed_index_stays_within_the_limit_of_bytes(files):
    each = held_bytes(CountingStore(files))
    store = CountingStore(files)
    ds = open_dataset(store, limits=CacheLimits(index_bytes=10 * each + each // 2))
    for position in range(120):
        assert as_dicts([ds[position]]) == expected(SAMPLES, [position])
        assert len(shards_open(ds)) <= 10
    store.taken()
    for position in range(90, 120):
        ds[position]
    assert indexes(store.taken()) == [], "the last ten are open"
    ds[0]
    assert len(indexes(store.taken())) == 1


def test_what_is_used_stays(files):
    each = held_bytes(CountingStore(files))
    store = CountingStore(files)
    ds = open_dataset(store, limits=CacheLimits(index_bytes=5 * each + each // 2))
    for position in range(0, 120, 3):
        ds[position], ds[1]
    taken = indexes(store.taken())
    assert len([path for path in taken if "000000" in path]) <= 8, "not once for each of the forty others"
    assert len(taken) >= 40


def test_many_shards_at_once_are_fetched_once(files):
    """As many as a batch wants stay, and are not fetched again at the next call."""
    store = CountingStore(files)
    store.remote = True
    ds = open_dataset(store)
    for _ in range(2):
        assert as_dicts(ds.get_many(range(0, 120, 3))) == expected(SAMPLES, range(0, 120, 3))
    assert len(indexes(store.taken())) == 40


def test_a_batch_of_more_shards_than_may_be_kept(files):
    each = held_bytes(CountingStore(files))
    ds = open_dataset(CountingStore(files), limits=CacheLimits(index_bytes=3 * each))
    assert as_dicts(ds.get_many(range(119, -1, -1))) == expected(SAMPLES, range(119, -1, -1))


def test_maps_stay_within_their_number(folder):
    ds = open_dataset(LocalStore(folder), limits=CacheLimits(maps=4, map_after_reads=2))
    kept = []
    for position in [i for i in range(120) for _ in range(3)]:
        kept.append(ds[position])
        assert sum(shard.mapped is not None for shard in shards_open(ds)) <= 4
    assert as_dicts(kept[::3]) == expected(SAMPLES)
    assert len(shards_open(ds)) == 40, "their indexes stay"
    none = open_dataset(LocalStore(folder), limits=CacheLimits(maps=0, map_after_reads=1))
    assert as_dicts([none[7], none[7]]) == expected(SAMPLES, [7, 7])


def test_a_shard_is_looked_at_once(files):
    """Length and headers are compared when it is first opened, not each time its index comes back."""
    each = held_bytes(CountingStore(files))
    store = CountingStore(files)
    ds = open_dataset(store, verify=False, limits=CacheLimits(index_bytes=each))
    ds[0]
    first = store.taken()
    ds[10], ds[20]
    store.taken()
    ds[0]
    assert len(store.taken()) < len(first)


def test_any_order_of_opening_finds_every_position(files):
    for step in (7, 11, 13, 17):
        ds = open_dataset(CountingStore(files), limits=CacheLimits(index_bytes=8 * 4096))
        order = [(i * step) % 120 for i in range(120)]
        assert as_dicts([ds[i] for i in order]) == expected(SAMPLES, order)


def test_closing_lets_go_and_reading_opens_again(folder):
    with open_dataset(LocalStore(folder)) as ds:
        ds[0], ds["k/0050"]
    assert shards_open(ds) == []
    assert as_dicts([ds[3]]) == expected(SAMPLES, [3])
    ds.close()


def test_keys_are_there_when_the_shard_is_not(folder):
    """A sample that was cut from a map has its key, though index, map and files are gone."""
    ds = open_dataset(LocalStore(folder), limits=CacheLimits(index_bytes=1, maps=1, map_after_reads=1))
    kept = [ds[i] for i in (5, 5, 5)]
    for i in range(120):
        ds[i], ds[i]
    ds.close()
    del ds
    assert [sample.key for sample in pickle.loads(pickle.dumps(kept))] == ["k/0005"] * 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_waits_for_no_thread_of_its_parent(files):
    """A child is forked while a thread opens a shard and holds its locks."""

    class Slow(CountingStore):
        def get(self, path, **options):
            if "shard-0000" in path and threading.current_thread() is thread:
                started.set()
                go_on.wait(60)
            return super().get(path, **options)

    started, go_on = threading.Event(), threading.Event()
    ds = open_dataset(Slow(files))
    thread = threading.Thread(target=lambda: ds[0])
    thread.start()
    assert started.wait(60)
    child = os.fork()
    if child == 0:
        os._exit(0 if ds[0].key == "k/0000" and ds[4].key == "k/0004" else 1)
    go_on.set()
    thread.join()
    until = time.monotonic() + 60
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert ended[1] == 0

"""Blocks are prefetched before they are read, each once, never further than the next window."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

import shardpack
from shardpack.format.layout import FOLDER
from shardpack.order.options import Shuffle
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.hints import HINT_BYTES
from shardpack.stream.limits import ReadLimits
from shardpack.stream.options import StreamOptions
from shardpack.stream.stream import Stream
from tests.read.datasets import CountingStore, numbered, packed
from tests.read.layered import packed_layered

COUNT, SIZE = 200, 900
FILES = packed(numbered(COUNT, size=SIZE), max_shard_samples=50)  # 2,560 bytes a sample in the tar
WINDOW_BLOCKS = 3  # of each partition
OPTIONS = {"shuffle": "blocks", "block_bytes": 12_800, "window_blocks": 3, "partitions": 1}
BLOCK = 6  # samples: 5, or one more
WINDOW = 3 * BLOCK


class HintedStore(CountingStore):
    """A store where nothing is in memory, and which remembers what it was told."""

    def __init__(self, objects, **options):
        super().__init__(objects, **options)
        self.hints, self.cached = [], False

    def is_cached(self, *_):
        return self.cached

    def prefetch(self, path, *, starts, lengths):
        self.hints += [(path, start, length) for start, length in zip(starts, lengths, strict=True)]


def stream_of(ds, **options):
    """Return a stream by blocks whose chunks are of four samples."""
    shuffle = Shuffle("blocks", 0, OPTIONS["block_bytes"], WINDOW_BLOCKS * options.get("partitions", 1))
    limits = ReadLimits(part_samples=4, planned_samples=4)
    return Stream(DatasetEpochs(ds.stream_input(), shuffle, limits), StreamOptions(**{"partitions": 1, **options}))


class Watch:
    """Follows an epoch: `hinted` counts the hints at each sample's first byte."""

    def __init__(self, store, view=None, **options):
        self.store, self.ds = store, shardpack.open(store)
        self.at = {(e.shard, e.fields["bin"].offset): e.position for e in self.ds.entries()}
        self.stream = stream_of(self.ds if view is None else self.ds.select(view), **options)
        self.hinted = Counter()

    def __iter__(self):
        for sample in self.stream:
            for path, start, length in self.store.hints:
                self.hinted.update(
                    p for (shard, at), p in self.at.items() if shard == path and start <= at < start + length
                )
            self.store.hints.clear()
            yield sample.position


@pytest.mark.parametrize(
    "options",
    [{}, {"partitions": 2}, {"partitions": 4, "world_size": 4, "rank": 3}, {"partitions": 8, "batch_size": 16}],
    ids=str,
)
@pytest.mark.parametrize("view", [None, range(150, 30, -1)], ids=["all", "view"])
def test_everything_is_hinted_once_and_in_time(options, view):
    watch = Watch(HintedStore(FILES), view, **options)
    owned = options.get("partitions", options.get("world_size", 1)) // options.get("world_size", 1)
    seen, furthest = [], 0
    for position in watch:
        seen.append(position)
        assert len(seen) <= 4 or position in watch.hinted, "but for the first samples, which should not wait"
        furthest = max(furthest, len(watch.hinted.keys() - seen))
    assert watch.hinted.keys() == set(seen)
    assert set(watch.hinted.values()) == {1}
    assert furthest <= owned * 2 * WINDOW, "this window and the next, of each partition"


def test_the_next_window_comes_little_by_little():
    watch = Watch(HintedStore(FILES))
    totals = [len(watch.hinted) for _ in watch]
    assert totals[0] == 0, "nothing before the first sample"
    assert totals[1] >= WINDOW - 3
    assert max(b - a for a, b in itertools.pairwise(totals[1:])) <= 2 * BLOCK, "a block or two, not a window"


def test_resuming_hints_from_there():
    watch = Watch(HintedStore(FILES))
    watch.stream.load_state_dict(watch.stream.state_at(100))
    for _ in itertools.islice(watch, 8):
        pass
    assert 0 < len(watch.hinted) <= 2 * WINDOW


def test_only_wanted_fields_are_hinted():
    store = HintedStore(packed({f"{i:03d}": {"bin": bytes(70_000), "json": b"{}"} for i in range(40)}))
    stream = shardpack.open(store).stream(shuffle="blocks", block_bytes=350_000, fields=["json"], partitions=1)
    assert len(list(stream)) == 40
    assert len(store.hints) == 40
    assert {length for _, _, length in store.hints} == {2}


def test_samples_without_the_wanted_field_need_no_hint():
    samples = {f"{i:03d}": {"bin": b"x" * 100} | ({"json": b"{}"} if i % 7 == 0 else {}) for i in range(40)}
    store = HintedStore(packed(samples, max_shard_samples=13))
    for fields in (["json"], ["bin"], None):
        stream = shardpack.open(store).stream(shuffle="blocks", block_bytes=2048, window_blocks=2, fields=fields)
        assert [len(sample) for sample in stream].count(0) == (34 if fields == ["json"] else 0)


@pytest.mark.parametrize("mode", ["none", "shards", "global"])
def test_other_orders_hint_at_nothing(mode):
    store = HintedStore(FILES)
    assert len(list(shardpack.open(store).stream(shuffle=mode))) == COUNT
    assert not store.hints


def test_what_is_in_memory_is_not_hinted():
    store = HintedStore(FILES)
    store.cached = True
    assert len(list(shardpack.open(store).stream(**OPTIONS))) == COUNT
    assert not store.hints


@pytest.mark.parametrize("cached", ["base", "layer"])
def test_of_a_layered_block_what_is_not_in_memory_is_hinted(cached):
    class HalfCached(HintedStore):
        def is_cached(self, path, _):
            return (FOLDER in path) == (cached == "layer")

    labels = {key: {"json": b"{}"} for key in list(numbered(COUNT))[1::2]}  # half of the blocks begin without one
    store = HalfCached(packed_layered(numbered(COUNT, size=SIZE), labels, max_shard_samples=50))
    assert len(list(shardpack.open(store).stream(**OPTIONS))) == COUNT
    hinted = {FOLDER in path for path, _, _ in store.hints}
    assert hinted == {cached == "base"}


def test_hints_are_short_enough_for_any_disk():
    store = HintedStore(packed({f"{i:03d}": {"bin": bytes(300_000)} for i in range(8)}))
    assert len(list(shardpack.open(store).stream(shuffle="blocks", block_bytes="1MiB", partitions=1))) == 8
    assert max(length for _, _, length in store.hints) == HINT_BYTES
    assert sum(length for _, _, length in store.hints) >= 8 * 300_000

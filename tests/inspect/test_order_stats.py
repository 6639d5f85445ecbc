"""The costs computed for an epoch are those it has; the mixing figure tells sorted from shuffled."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from shardpack.inspect.order_stats import order_path, order_stats
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from tests.read.datasets import CountingStore, numbered, packed, write
from tests.strategies import examples

SAMPLES, CLASSES = 4000, 40
SMALL = {"block_bytes": "16KiB", "window_blocks": 8, "partitions": 1}  # 250 blocks of 16 samples, of one class or two


def by_class(order, *, samples=SAMPLES, classes=CLASSES):
    """Return samples of equal classes, named by class, in some order of their sorted keys."""
    return {
        f"c{i * classes // samples:03d}/{i:06d}": {"json": b'{"label":%d}' % (i * classes // samples)}
        for i in np.asarray(order).tolist()
    }


def shuffled_keys(seed, samples=SAMPLES):
    """Return the order in which `pack(shuffle=seed)` packs."""
    return permutation(samples, derive_key(PACK_ORDER, seed))


@pytest.fixture(scope="module")
def stored_by_class(tmp_path_factory):
    return shardpack.open(
        write(tmp_path_factory.mktemp("x") / "sorted", by_class(range(SAMPLES)), max_shard_samples=500)
    )


@pytest.fixture(scope="module")
def stored_shuffled(tmp_path_factory):
    samples = by_class(shuffled_keys(seed=0))
    return shardpack.open(write(tmp_path_factory.mktemp("x") / "shuffled", samples, max_shard_samples=500))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return shardpack.open(write(tmp_path_factory.mktemp("x") / "numbers", numbered(61), max_shard_samples=9))


# The mixing figure


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_data_packed_with_a_shuffle_mixes_like_a_true_shuffle(stored_shuffled, seed):
    for options in (SMALL, {"block_bytes": 512, "window_blocks": 1, "partitions": 1}, {}):
        found = order_stats(stored_shuffled.stream(shuffle="blocks", seed=seed, **options))
        assert found.num_classes == CLASSES
        assert found.class_mixing == pytest.approx(1, abs=0.02)
        assert not found.poorly_mixed


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_data_packed_by_class_does_not(stored_by_class, seed):
    found = order_stats(stored_by_class.stream(shuffle="blocks", seed=seed, **SMALL))
    assert found.class_mixing < 0.8
    assert found.poorly_mixed
    assert found.class_entropy_stored < 0.4
    wider = order_stats(
        stored_by_class.stream(shuffle="blocks", seed=seed, block_bytes="16KiB", window_blocks=1000, partitions=1)
    )
    assert wider.class_mixing == pytest.approx(1, abs=0.02), "the remedies help"
    assert order_stats(stored_by_class.stream(shuffle="global", seed=seed)).class_mixing == pytest.approx(1)
    assert order_stats(stored_by_class.stream(shuffle="shards", seed=seed)).class_mixing < 0.4


@pytest.mark.slow
def test_the_figure_that_is_promised(tmp_path):
    """20,000 samples in 100 classes, packed with a shuffle: within 2 % of a true shuffle; sorted: far from it."""
    size, kinds = 20_000, 100
    options = {"shuffle": "blocks", "block_bytes": "64KiB", "batch_size": 256, "partitions": 1}
    shuffled = by_class(shuffled_keys(7, size), samples=size, classes=kinds)
    good = shardpack.open(write(tmp_path / "good", shuffled, max_shard_bytes="4MiB"))
    bad = shardpack.open(
        write(tmp_path / "bad", by_class(range(size), samples=size, classes=kinds), max_shard_bytes="4MiB")
    )
    for seed, epoch in itertools.product(range(3), range(2)):
        ratios = []
        for ds in (good, bad):
            stream = ds.stream(seed=seed, **options)
            stream.set_epoch(epoch)
            found = order_stats(stream)
            assert found.num_classes == kinds
            ratios.append(found.class_mixing)
        assert abs(ratios[0] - 1) < 0.02
        assert ratios[1] < 0.9


def test_entropy_is_that_of_the_batches_a_rank_gets(stored_by_class):
    options = {
        "shuffle": "blocks",
        "world_size": 2,
        "rank": 1,
        "batch_size": 100,
        **SMALL,
        "partitions": 4,
        "window_blocks": 32,
    }
    stream = stored_by_class.stream(**options)
    found = order_stats(stream)
    assert (found.measured_batch_size, found.measured_batches) == (100, 20) == (stream.batch_size, stream.num_steps)
    entropies = []
    for step in stream.steps():
        shares = [count / len(step) for count in Counter(sample.key.partition("/")[0] for sample in step).values()]
        entropies.append(-sum(share * math.log(share) for share in shares) / math.log(CLASSES))
    assert found.class_entropy == pytest.approx(sum(entropies) / len(entropies))


def test_neighbours_are_as_far_apart_as_they_are(stored_by_class):
    assert order_stats(stored_by_class.stream()).neighbour_distance == pytest.approx(1 / (SAMPLES * (1 - 0.5**0.5)))
    assert order_stats(stored_by_class.stream(shuffle="shards")).neighbour_distance < 0.01
    assert order_stats(stored_by_class.stream(shuffle="global")).neighbour_distance == pytest.approx(1, abs=0.1)
    one_block = order_stats(
        stored_by_class.stream(shuffle="blocks", window_blocks=1, block_bytes="16KiB", partitions=1)
    )
    assert one_block.neighbour_distance < 0.05


def test_classes_from_the_json_field(stored_by_class):
    by_key = order_stats(stored_by_class.stream(shuffle="blocks", **SMALL))
    assert order_stats(stored_by_class.stream(shuffle="blocks", **SMALL), class_from="json") == by_key


def test_a_rank_without_samples_is_refused(numbers):
    with pytest.raises(OptionError, match="no samples for this rank"):
        order_stats(numbers.select([]).stream())


def test_nothing_is_known_of_data_without_classes(numbers):
    for ds in (numbers, numbers.select([3])):  # all of one folder
        found = order_stats(ds.stream(shuffle="blocks"))
        assert found.num_classes == 1
        assert (found.class_entropy, found.class_mixing) == (None, None)
        assert not found.poorly_mixed


# Costs


@examples(40)
@given(
    st.sampled_from(["none", "shards", "blocks", "global"]),
    st.sampled_from([(0, 1, 1), (0, 1, 4), (1, 2, 2), (3, 4, 8), (62, 64, 64)]),
    st.sampled_from(["pad", "drop", "exact"]),
    st.integers(1, 4000),
)
def test_counts_are_those_of_the_stream(numbers, shuffle, ranks, tail, block_bytes):
    rank, world_size, partitions = ranks
    stream = numbers.stream(
        shuffle=shuffle, rank=rank, world_size=world_size, partitions=partitions, tail=tail, block_bytes=block_bytes
    )
    stream.set_epoch(3)
    if not len(stream):
        return
    found = order_stats(stream)
    assert (found.rank_samples, found.steps) == (len(stream), stream.num_steps)
    assert found.num_samples == 61
    assert found.rank_bytes == numbers.manifest.num_bytes * len(stream) // 61
    assert found.window_bytes <= found.read_ahead_bytes <= found.rank_bytes
    assert found.requests >= 1
    if shuffle == "shards" and partitions == 1:
        assert found.blocks == len(numbers.shards)


def test_requests_of_blocks_are_their_number(numbers):
    found = order_stats(numbers.stream(shuffle="blocks", block_bytes=1))
    assert found.requests == found.blocks == 61
    assert order_stats(numbers.stream(shuffle="global")).requests == 61
    assert order_stats(numbers.stream(shuffle="blocks", block_bytes="1GiB", partitions=1)).requests == len(
        numbers.shards
    )
    whole = [
        order_stats(numbers.stream(shuffle="blocks", block_bytes="1GiB", rank=rank, world_size=4, partitions=4))
        for rank in range(4)
    ]
    assert len(numbers.shards) <= sum(found.blocks for found in whole) <= len(numbers.shards) + 4


def test_reads_no_payload():
    store = CountingStore(packed(by_class(range(300), samples=300, classes=3), max_shard_samples=50))
    ds = shardpack.open(store)
    order_stats(ds.stream(shuffle="blocks"))
    assert {path.rpartition(".")[2] for path in store.taken()} == {"json", "index"}


# The image


@examples(30)
@given(st.sampled_from(["none", "shards", "blocks", "global"]), st.integers(1, 3), st.integers(0, 2))
def test_the_path_is_that_of_the_stream(numbers, shuffle, world_size, epoch):
    stream = numbers.stream(shuffle=shuffle, world_size=world_size, batch_size=2, block_bytes=3000)
    stream.set_epoch(epoch)
    x, y = order_path(stream)
    positions = [sample.position for sample in stream]
    assert len(x) >= len(stream) - 10, "all of them but for a rest, where they are few"
    assert y.tolist() == [positions[place] for place in x.tolist()]

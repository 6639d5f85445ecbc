"""Orders are compared by the figures they have alone; the shuffle buffer is webdataset's."""

from __future__ import annotations

import random
from functools import partial

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.inspect.order_compare import BUFFER_SAMPLES, BUFFER_START, buffer_shuffled, compare_orders
from shardpack.inspect.order_stats import order_stats
from shardpack.order.options import SHUFFLES
from tests.read.datasets import write
from tests.strategies import examples

SAMPLES, CLASSES = 6000, 30
SMALL = {"block_bytes": "16KiB", "window_blocks": 8, "partitions": 1}


@pytest.fixture(scope="module")
def stored_by_class(tmp_path_factory):
    samples = {f"c{i * CLASSES // SAMPLES:03d}/{i:06d}": {"cls": b"%d" % i} for i in range(SAMPLES)}
    return shardpack.open(write(tmp_path_factory.mktemp("x") / "sorted", samples, max_shard_samples=500))


@examples(200)
@given(st.integers(0, 400), st.integers(1, 120), st.integers(1, 120), st.integers())
def test_the_buffer_gives_what_that_of_webdataset_gives(total, size, start, seed):
    theirs = webdataset.filters.shuffle(size, initial=start, rng=random.Random(seed))
    assert list(buffer_shuffled(range(total), seed, size=size, start=start)) == list(theirs(iter(range(total))))


def test_each_order_has_the_figures_it_has_alone(stored_by_class):
    stream_of = partial(stored_by_class.stream, seed=3, **SMALL)
    *found, buffer = compare_orders(stream_of)
    assert [order.order for order in found] == list(SHUFFLES)
    for order in found:
        alone = order_stats(stream_of(shuffle=order.order))
        names = set(order.__dataclass_fields__) - {"order"}
        assert {name: getattr(order, name) for name in names} == {name: getattr(alone, name) for name in names}
    assert buffer.order == "shuffle buffer"
    assert buffer.requests == len(stored_by_class.shards) == 12


def test_a_buffer_mixes_better_than_shards_and_worse_than_a_true_shuffle(stored_by_class):
    by_name = {order.order: order for order in compare_orders(partial(stored_by_class.stream, **SMALL))}
    mixing = {name: order.class_mixing for name, order in by_name.items()}
    assert mixing["none"] < mixing["shuffle buffer"] < 0.9 < mixing["global"]
    assert by_name["none"].neighbour_distance < by_name["shuffle buffer"].neighbour_distance < 0.8


def test_what_is_read_before_the_first_sample(stored_by_class):
    by_name = {order.order: order for order in compare_orders(partial(stored_by_class.stream, **SMALL))}
    mean = stored_by_class.manifest.num_bytes // SAMPLES
    assert by_name["blocks"].first_sample_bytes == pytest.approx(16 << 10, rel=0.2), "one block"
    assert by_name["shuffle buffer"].first_sample_bytes == BUFFER_START * mean
    assert by_name["shuffle buffer"].memory_bytes == BUFFER_SAMPLES * mean


@pytest.mark.parametrize("count", [1, 2, 99, 101])
def test_few_samples(stored_by_class, count):
    *_, buffer = compare_orders(partial(stored_by_class.select(range(0, 50 * count, 50)).stream, **SMALL))
    mean = sum(stored_by_class.select(range(count)).stream_input().view.segments().num_bytes) // count
    assert buffer.memory_bytes == pytest.approx(count * mean, rel=0.1)
    assert buffer.first_sample_bytes <= buffer.memory_bytes


def test_ranks_share_the_shards(stored_by_class):
    *_, buffer = compare_orders(partial(stored_by_class.stream, block_bytes="16KiB", rank=1, world_size=5))
    assert buffer.requests == 3

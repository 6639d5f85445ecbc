"""Balanced orders: exact counts, no repeat before all were seen, the same for every world size, as SPEC 7.7 says."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.balanced import ClassOrders, places, slot_numbers
from shardpack.order.groups import Groups
from shardpack.order.partitions import Partitioning, RankSlice
from tests.order import reference
from tests.strategies import examples

class_counts = st.lists(st.integers(1, 12), min_size=1, max_size=7)
seeds = st.integers(-(2**70), 2**70)


@st.composite
def layouts(draw, partition_counts=(1, 2, 3, 8, 12)):
    """Return the samples of each class, and how an epoch is divided."""
    partitions, q = draw(st.sampled_from(partition_counts)), draw(st.integers(1, 3))
    return draw(class_counts), Partitioning(draw(st.integers(1, 80)), partitions, partitions * q, "exact")


def grouped(counts):
    """Return classes whose samples are strewn over the positions, and the class of each position."""
    owner = np.repeat(np.arange(len(counts)), counts)[reference.permutation(sum(counts), 7)]
    starts = np.concatenate(([0], np.cumsum(counts)))
    names = tuple(f"c{number:03d}" for number in range(len(counts)))
    return Groups(names, starts, np.argsort(owner, kind="stable").astype(np.uint32)), owner


def epoch_steps(order, parts, world_size=1):
    """Return, for each step, the positions that each rank takes."""
    slices = [RankSlice(parts, rank, world_size) for rank in range(world_size)]
    return [
        [order.samples(*one.locate(np.arange(*one.step_bounds(step))))[0].tolist() for one in slices]
        for step in range(slices[-1].num_steps)
    ]


def weights_of(data, counts):
    return data.draw(st.lists(st.integers(1, 9), min_size=len(counts), max_size=len(counts)))


@examples(20)
@given(layouts(), seeds, st.data())
def test_counts_are_exact_and_nothing_repeats_before_all_were_seen(layout, seed, data):
    counts, parts = layout
    weights = weights_of(data, counts)
    groups, owner = grouped(counts)
    orders = ClassOrders(groups.without(()), weights, num_slots=parts.num_items, seed=seed)
    share = parts.num_items * np.array(weights) / sum(weights)
    seen = np.zeros(len(owner), np.int64)
    for epoch in range(4):
        for step in epoch_steps(orders.order(parts, epoch), parts):
            seen += np.bincount(step[0], minlength=len(owner))
            for number in range(len(counts)):
                own = seen[owner == number]
                assert own.max() - own.min() <= 1
        total = np.bincount(owner, weights=seen, minlength=len(counts))
        assert total.sum() == (epoch + 1) * parts.num_items
        if not epoch:
            first = total
        elif epoch == 1:
            assert (np.abs(total - first - share) < 1).all(), "any epoch, not the first alone"
        assert (np.abs(first - share) < 1).all()


@examples(20)
@given(layouts((12,)), seeds, st.integers(0, 3), st.data())
def test_global_batches_are_the_same_for_every_world_size(layout, seed, epoch, data):
    counts, parts = layout
    weights = weights_of(data, counts)
    orders = ClassOrders(grouped(counts)[0].without(()), weights, num_slots=parts.num_items, seed=seed)
    order = orders.order(parts, epoch)
    whole = [sorted(step[0]) for step in epoch_steps(order, parts)]
    for world_size in (2, 3, 4, 12):
        steps = epoch_steps(order, parts, world_size)
        assert [sorted(position for rank in step for position in rank) for step in steps] == whole


@examples(25)
@given(layouts(), seeds, st.integers(0, 5), st.data())
def test_equals_the_specification(layout, seed, epoch, data):
    counts, parts = layout
    num_slots, partitions, q = parts.num_items, parts.partitions, parts.items_per_step
    weights = weights_of(data, counts)
    orders = ClassOrders(grouped(counts)[0].without(()), weights, num_slots=num_slots, seed=seed)
    plain = reference.Plain(num_slots, partitions, partitions * q, "exact")
    slots = [(p, o) for p in range(partitions) for o in range(parts.length(p))]
    numbers = [reference.slot_number(p, o, plain, partitions * q) for p, o in slots]
    assert sorted(numbers) == list(range(num_slots))
    partition, offset = np.array(slots).T
    order = orders.order(parts, epoch)
    assert slot_numbers(parts, places(partitions), partition, offset).tolist() == numbers
    expected = reference.class_draws(weights, num_slots, seed, epoch)
    found = list(zip(*(column.tolist() for column in order.draws(partition, offset)), strict=True))
    assert found == [expected[number] for number in numbers]
    own = orders.classes
    samples = [own.positions[own.first[c] + reference.class_sample(c, item, counts[c], seed)] for c, item in found]
    assert order.samples(partition, offset)[0].tolist() == samples


@pytest.mark.parametrize("partitions", [1, 2, 7, 12, 64, 90])
def test_a_rank_has_neighbouring_places(partitions):
    """For the world sizes that are products of the first prime factors."""
    place = places(partitions)
    assert place.tolist() == [reference.place(p, partitions) for p in range(partitions)]
    world_size, left, factor = 1, partitions, 2
    while left > 1:
        while left % factor:
            factor += 1
        left, world_size = left // factor, world_size * factor
        for rank in range(world_size):
            own = sorted(place[rank::world_size].tolist())
            assert own == list(range(own[0], own[0] + partitions // world_size))


def test_batches_are_balanced_on_every_rank():
    groups, owner = grouped([10, 200, 3000, 40])
    orders = ClassOrders(groups.without(()), [1, 1, 1, 1], num_slots=4096, seed=5)
    parts = Partitioning(4096, 64, 256)
    for world_size in (1, 2, 8):
        for step in epoch_steps(orders.order(parts, 0), parts, world_size):
            for rank in step:
                assert (np.bincount(owner[rank], minlength=4) == len(rank) // 4).all()


def test_a_rare_class_is_spread_over_the_epoch():
    groups, owner = grouped([500, 500, 500])
    orders = ClassOrders(groups.without(()), [100, 99, 1], num_slots=20_000, seed=1)
    parts = Partitioning(20_000, 1, 500)
    found = owner[np.concatenate([step[0] for step in epoch_steps(orders.order(parts, 0), parts)])]
    gaps = np.diff(np.flatnonzero(found == 2), prepend=0)
    assert gaps.max() <= 2 * 200
    assert len(set(gaps.tolist())) > 20, "but at random within its cells"
    for number, share in enumerate([100, 99, 1]):
        counted = np.cumsum(found == number) - np.arange(1, 20_001) * share / 200
        assert np.abs(counted).max() < 3


def test_rounds_hold_each_class_once_in_an_order_of_their_own():
    groups, owner = grouped([9] * 10)
    orders = ClassOrders(groups.without(()), [1] * 10, num_slots=400, seed=2)
    parts = Partitioning(400, 1, 10)
    rounds = [tuple(owner[step[0]]) for step in epoch_steps(orders.order(parts, 3), parts)]
    assert all(sorted(one) == list(range(10)) for one in rounds)
    assert len(set(rounds)) == 40


def test_late_epochs_cost_what_early_ones_do():
    orders = ClassOrders(grouped([3, 4])[0].without(()), [2, 3], num_slots=11, seed=0)
    parts = Partitioning(11, 1, 1)
    order = orders.order(parts, 2**30 - 1)
    assert len(order.samples(np.zeros(11, np.int64), np.arange(11))[0]) == 11
    with pytest.raises(OptionError, match="epoch 1073741824 of a balanced order"):
        orders.order(parts, 2**30)


def test_memory_is_that_of_the_classes_and_of_the_slots_asked_for():
    """Not of the samples: their positions may be in a map."""
    count, classes = 3_000_000, 300
    starts = np.linspace(0, count, classes + 1).astype(np.int64)
    groups = Groups(tuple(f"{c:03d}" for c in range(classes)), starts, np.zeros(count, np.uint32))
    tracemalloc.start()
    try:
        orders = ClassOrders(groups.without(()), list(range(1, classes + 1)), num_slots=count, seed=0)
        order = orders.order(Partitioning(count, 64, 64), 5)
        order.samples(np.arange(1000) % 64, np.arange(1000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_an_epoch_that_is_too_long_is_refused():
    with pytest.raises(OptionError, match="expected at most 2147483648"):
        ClassOrders(grouped([3])[0].without(()), [1], num_slots=2**31 + 1, seed=0)

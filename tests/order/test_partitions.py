"""Partitions, steps and ranks: exact unions, equal shares, the same steps at every world size."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.partitions import TAILS, Partitioning, RankSlice, elastic_partitions
from tests.order.reference import Plain
from tests.strategies import examples

tails = st.sampled_from(TAILS)


def divisors(number):
    return [d for d in range(1, number + 1) if number % d == 0]


@st.composite
def partitionings(draw, max_items=200):
    partitions = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 64]))
    q = draw(st.integers(1, 5))
    return Partitioning(draw(st.integers(0, max_items)), partitions, partitions * q, draw(tails))


def taken(ours, begin=0, end=None):
    """Return (partition, slot) of each sample."""
    partition, offset = ours.locate(np.arange(begin, len(ours) if end is None else end))
    return list(zip(partition.tolist(), ours.partitioning.slots(partition, offset).tolist(), strict=True))


def ranks(parts, world_size):
    return [RankSlice(parts, rank, world_size) for rank in range(world_size)]


def steps(ours):
    return [taken(ours, *ours.step_bounds(step)) for step in range(ours.num_steps)]


@given(partitionings(), st.data())
def test_equals_the_specification(parts, data):
    world_size = data.draw(st.sampled_from(divisors(parts.partitions)))
    plain = Plain(parts.num_items, parts.partitions, parts.global_batch, parts.tail)
    for ours in ranks(parts, world_size):
        expected = plain.steps(ours.rank, world_size)
        assert steps(ours) == expected
        assert len(ours) == sum(map(len, expected))
        assert ours.num_steps == len(expected)


@given(partitionings(), st.data())
def test_union_is_exact_and_ranks_are_equal(parts, data):
    world_size = data.draw(st.sampled_from(divisors(parts.partitions)))
    slices = ranks(parts, world_size)
    union = Counter(slot for ours in slices for _, slot in taken(ours))
    lengths = {len(ours) for ours in slices}
    n, extra = parts.num_items, sum(map(len, slices)) - parts.num_items
    assert max(lengths) == slices[0].end
    if parts.tail == "exact":
        assert union == Counter(range(n))
        assert max(lengths) - min(lengths) <= 1
        return
    assert len(lengths) == 1
    if parts.tail == "pad":
        assert union.keys() == set(range(n)), "each at least once"
        assert 0 <= extra < world_size
    else:
        assert set(union.values()) <= {1}, "none twice"
        assert 0 <= -extra < world_size


@given(partitionings())
def test_steps_are_the_same_for_every_world_size(parts):
    """But for what some ranks repeat or leave out in the last one, so that all have equally many."""
    alone = [sorted(step) for step in steps(RankSlice(dataclasses.replace(parts, tail="exact"), 0, 1))]
    for world_size in divisors(parts.partitions):
        together = [[] for _ in alone]
        for ours in ranks(parts, world_size):
            for number, step in enumerate(steps(ours)):
                together[number] += step
        assert [sorted(step) for step in together[:-1]] == alone[:-1]
        for last, whole in zip(together[-1:], alone[-1:], strict=True):
            if parts.tail == "drop" or world_size == 1:
                assert set(last) <= set(whole)
                assert len(set(last)) == len(last)
                assert world_size > 1 or sorted(last) == whole
            else:
                assert set(last) == set(whole), "what is repeated is of the same step"


@given(partitionings(), st.data())
def test_slots_do_not_depend_on_how_they_are_asked(parts, data):
    world_size = data.draw(st.sampled_from(divisors(parts.partitions)))
    ours = RankSlice(parts, data.draw(st.integers(0, world_size - 1)), world_size)
    whole = taken(ours)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ours)), max_size=5)))
    edges = [0, *cuts, len(ours)]
    assert [x for pair in itertools.pairwise(edges) for x in taken(ours, *pair)] == whole
    numbers = data.draw(st.lists(st.integers(0, max(0, len(ours) - 1)), max_size=10)) if whole else []
    partition, offset = ours.locate(np.array(numbers, np.int64))
    found = list(zip(partition.tolist(), parts.slots(partition, offset).tolist(), strict=True))
    assert found == [whole[number] for number in numbers]


@given(partitionings(), st.data())
def test_samples_of_counts_the_samples_of_steps(parts, data):
    ours = RankSlice(parts, 0, data.draw(st.sampled_from(divisors(parts.partitions))))
    first, stride = data.draw(st.integers(0, ours.num_steps + 2)), data.draw(st.integers(1, 4))
    chosen = range(first, ours.num_steps, stride)
    numbers = ours.numbers_of(chosen, np.arange(ours.samples_of(chosen))).tolist()
    assert numbers == [n for step in chosen for n in range(*ours.step_bounds(step))]


@given(partitionings())
def test_partitions_follow_one_another(parts):
    starts = [parts.start(p) for p in range(parts.partitions + 1)]
    assert starts[0] == 0
    assert starts[-1] == parts.num_items
    assert {b - a for a, b in itertools.pairwise(starts)} <= {parts.shortest, parts.shortest + 1}


@examples(50)
@given(partitionings(max_items=60), st.data())
def test_reached_is_valid_for_every_rank(parts, data):
    """`reached` is what this rank took, or the end of the epoch once its part of the last step is over."""
    world_size = data.draw(st.sampled_from(divisors(parts.partitions)))
    for ours in ranks(parts, world_size):
        for count in range(len(ours) + 3):
            in_last_step = len(ours) > parts.full_steps * ours.batch_size
            over = count > len(ours) or (count == len(ours) and in_last_step)
            assert ours.reached(count) == (ours.end if over else count)


@pytest.mark.parametrize(("items", "partitions"), [(0, 1), (0, 64), (1, 1), (1, 64), (63, 64), (65, 64)])
@pytest.mark.parametrize("tail", TAILS)
def test_fewer_items_than_ranks(items, partitions, tail):
    parts = Partitioning(items, partitions, partitions, tail)
    lengths = [len(ours) for ours in ranks(parts, partitions)]
    short, more = divmod(items, partitions)
    expected = {
        "pad": [short + (more > 0)] * partitions,
        "drop": [short] * partitions,
        "exact": [short] * (partitions - more) + [short + 1] * more,
    }
    assert lengths == expected[tail]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((9, 0, 1), "partitions is 0, expected 1 to"),
        ((9, 2**20 + 1, 1), "partitions is 1048577, expected 1 to"),
        ((9, 1, 0), r"batch_size \* world_size is 0, expected 1 to"),
        ((9, 1, 2**41), "expected 1 to"),
        ((9, 4, 6), "a global batch of 6 does not divide into 4 partitions; choose"),
        ((9, 1, 1, "cut"), "tail is 'cut'; choose one of 'pad', 'drop', 'exact'"),
    ],
)
def test_bad_partitionings(arguments, text):
    with pytest.raises(OptionError, match=text):
        Partitioning(*arguments)


@pytest.mark.parametrize(
    ("rank", "world_size", "text"),
    [
        (0, 0, "world_size is 0"),
        (2, 2, "rank is 2, expected 0 <= rank"),
        (-1, 2, "rank is -1"),
        (0, 3, "4 partitions cannot be divided evenly between 3 ranks; choose a world size that divides them: 1, 2, 4"),
    ],
)
def test_bad_ranks(rank, world_size, text):
    with pytest.raises(OptionError, match=text):
        RankSlice(Partitioning(9, 4, 4), rank, world_size)


@pytest.mark.parametrize(
    ("world_size", "batch_size", "partitions"),
    [
        (1, None, 64), (8, None, 64), (3, None, 63), (64, None, 64), (65, None, 65), (100, None, 100), (40, None, 40),
        (1, 64, 64), (1, 256, 64), (1, 48, 48), (1, 100, 50), (1, 97, 1), (8, 32, 64), (8, 4, 32), (8, 6, 48),
        (6, 64, 48),
        (64, 256, 64), (128, 8, 128),
    ],
)  # fmt: skip
def test_default_partitions(world_size, batch_size, partitions):
    assert elastic_partitions(world_size, batch_size) == partitions
    if batch_size is not None:
        batch = world_size * batch_size
        fitting = [d for d in divisors(batch) if d % world_size == 0 and d <= max(64, world_size)]
        assert partitions == max(fitting)


@given(partitionings())
def test_slots_are_located(parts):
    for p in range(parts.partitions):
        for offset in range(parts.length(p)):
            assert parts.locate(parts.start(p) + offset) == (p, offset)
    assert parts.lengths().tolist() == [parts.length(p) for p in range(parts.partitions)]


def test_the_error_lists_world_sizes_that_fit():
    with pytest.raises(OptionError, match=r"divides them: 1, 2, 3, 4, 5, .*, \.\.\.$"):
        RankSlice(Partitioning(9, 2**20 // 16 * 15, 2**20 // 16 * 15), 0, 7 * 64)

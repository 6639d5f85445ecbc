"""Partitions, steps and ranks: exact unions, equal shares, the same steps at every world size."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.partitions import TAILS, Partitioning, RankShare
from tests.order.reference import Deal
from tests.strategies import examples

tails = st.sampled_from(TAILS)


def divisors(number):
    return [d for d in range(1, number + 1) if number % d == 0]


@st.composite
def deals(draw, max_items=200):
    partitions = draw(st.sampled_from([1, 2, 3, 4, 6, 8, 12, 64]))
    q = draw(st.integers(1, 5))
    return Partitioning(draw(st.integers(0, max_items)), partitions, partitions * q, draw(tails))


def taken(share, begin=0, end=None):
    """Return (partition, place) of each sample."""
    partition, offset = share.places(begin, len(share) if end is None else end)
    return list(zip(partition.tolist(), share.deal.places(partition, offset).tolist(), strict=True))


def ranks(deal, world_size):
    return [RankShare(deal, rank, world_size) for rank in range(world_size)]


def steps(share):
    return [taken(share, *share.step_bounds(step)) for step in range(share.num_steps)]


@given(deals(), st.data())
def test_is_that_of_the_specification(deal, data):
    world_size = data.draw(st.sampled_from(divisors(deal.partitions)))
    plain = Deal(deal.num_items, deal.partitions, deal.global_batch, deal.tail)
    for share in ranks(deal, world_size):
        expected = plain.steps(share.rank, world_size)
        assert steps(share) == expected
        assert len(share) == sum(map(len, expected))
        assert share.num_steps == len(expected)


@given(deals(), st.data())
def test_union_is_exact_and_ranks_are_equal(deal, data):
    world_size = data.draw(st.sampled_from(divisors(deal.partitions)))
    shares = ranks(deal, world_size)
    union = Counter(place for share in shares for _, place in taken(share))
    lengths = {len(share) for share in shares}
    n, extra = deal.num_items, sum(map(len, shares)) - deal.num_items
    assert max(lengths) == shares[0].end
    if deal.tail == "exact":
        assert union == Counter(range(n))
        assert max(lengths) - min(lengths) <= 1
        return
    assert len(lengths) == 1
    if deal.tail == "pad":
        assert union.keys() == set(range(n)), "each at least once"
        assert 0 <= extra < deal.partitions
    else:
        assert set(union.values()) <= {1}, "none twice"
        assert 0 <= -extra < deal.partitions


@given(deals())
def test_steps_are_the_same_for_every_world_size(deal):
    alone = [sorted(step) for step in steps(RankShare(deal, 0, 1))]
    for world_size in divisors(deal.partitions):
        together = [[] for _ in alone]
        for share in ranks(deal, world_size):
            for number, step in enumerate(steps(share)):
                together[number] += step
        assert [sorted(step) for step in together] == alone


@given(deals(), st.data())
def test_places_do_not_depend_on_how_they_are_asked(deal, data):
    world_size = data.draw(st.sampled_from(divisors(deal.partitions)))
    share = RankShare(deal, data.draw(st.integers(0, world_size - 1)), world_size)
    whole = taken(share)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(share)), max_size=5)))
    edges = [0, *cuts, len(share)]
    assert [x for pair in itertools.pairwise(edges) for x in taken(share, *pair)] == whole
    numbers = data.draw(st.lists(st.integers(0, max(0, len(share) - 1)), max_size=10)) if whole else []
    partition, offset = share.places_of(np.array(numbers, np.int64))
    found = list(zip(partition.tolist(), deal.places(partition, offset).tolist(), strict=True))
    assert found == [whole[number] for number in numbers]


@given(deals(), st.data())
def test_some_steps_hold_what_they_hold(deal, data):
    share = RankShare(deal, 0, data.draw(st.sampled_from(divisors(deal.partitions))))
    first, stride = data.draw(st.integers(0, share.num_steps + 2)), data.draw(st.integers(1, 4))
    chosen = range(first, share.num_steps, stride)
    numbers = share.numbers_of(chosen, np.arange(share.samples_of(chosen))).tolist()
    assert numbers == [n for step in chosen for n in range(*share.step_bounds(step))]


@given(deals())
def test_partitions_follow_one_another(deal):
    starts = [deal.start(p) for p in range(deal.partitions + 1)]
    assert starts[0] == 0
    assert starts[-1] == deal.num_items
    assert {b - a for a, b in itertools.pairwise(starts)} <= {deal.shortest, deal.shortest + 1}


@examples(50)
@given(deals(max_items=60), st.data())
def test_a_count_serves_every_rank(deal, data):
    """`reached` is what this rank took, or the end of the epoch once its part of the last step is over."""
    world_size = data.draw(st.sampled_from(divisors(deal.partitions)))
    for share in ranks(deal, world_size):
        for count in range(len(share) + 3):
            in_last_step = len(share) > deal.full_steps * share.batch_size
            over = count > len(share) or (count == len(share) and in_last_step)
            assert share.reached(count) == (share.end if over else count)


@pytest.mark.parametrize(("items", "partitions"), [(0, 1), (0, 64), (1, 1), (1, 64), (63, 64), (65, 64)])
@pytest.mark.parametrize("tail", TAILS)
def test_fewer_items_than_ranks(items, partitions, tail):
    deal = Partitioning(items, partitions, partitions, tail)
    lengths = [len(share) for share in ranks(deal, partitions)]
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
def test_bad_deals(arguments, text):
    with pytest.raises(OptionError, match=text):
        Partitioning(*arguments)


@pytest.mark.parametrize(
    ("rank", "world_size", "text"),
    [
        (0, 0, "world_size is 0"),
        (2, 2, "rank is 2, expected 0 <= rank"),
        (-1, 2, "rank is -1"),
        (0, 3, "4 partitions cannot be shared by 3 ranks alike; choose a world size"),
    ],
)
def test_bad_ranks(rank, world_size, text):
    with pytest.raises(OptionError, match=text):
        RankShare(Partitioning(9, 4, 4), rank, world_size)

"""Weighted orders: each sample as often as its weight says, exactly, in every epoch."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from shardpack.errors import OptionError
from shardpack.order.partitions import Partitioning
from shardpack.order.positions import compact
from shardpack.order.view import SampleView
from shardpack.order.weighted import SampleOrders
from tests.order import reference
from tests.strategies import examples

weights = st.lists(st.one_of(st.integers(0, 9), st.floats(0, 100)), min_size=1, max_size=80).filter(
    lambda own: max(own) > 1e-3
)


def orders(own, *, num_slots, seed=0, positions=None):
    view = SampleView(
        len(own), lambda: (np.array([0, len(own)]), np.array([1])), None if positions is None else compact(positions)
    )
    return SampleOrders(view, np.array(own, np.float64), num_slots=num_slots, seed=seed)


def epoch(made, number):
    parts = Partitioning(made.num_slots, 1, 1)
    slots = np.arange(made.num_slots)
    return made.order(parts, number).samples(np.zeros_like(slots), slots)[0].tolist()


@examples(80)
@given(weights, st.integers(1, 60), st.integers(-5, 2**64), st.integers(0, 2**40))
def test_equals_the_specification(own, num_slots, seed, number):
    found = epoch(orders(own, num_slots=num_slots, seed=seed), number)
    assert found == [reference.weighted_item(own, num_slots, slot, seed, number) for slot in range(num_slots)]
    whole = reference.sample_weights(own)
    for item, weight in enumerate(whole):
        assert abs(found.count(item) - Fraction(num_slots * weight, sum(whole))) < 1
        assert weight or item not in found


def test_samples_of_little_weight_take_turns():
    made = orders([1] * 100, num_slots=10)
    seen = np.bincount([item for number in range(30) for item in epoch(made, number)], minlength=100)
    assert seen.min() >= 1
    assert seen.max() <= 5


def test_equal_weights_are_a_true_shuffle():
    made = orders([2.5] * 50, num_slots=50)
    first, second = epoch(made, 0), epoch(made, 1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second


def test_views_have_their_own_items():
    made = orders([1, 0, 3], num_slots=8, positions=np.array([7, 8, 9]))
    assert sorted(epoch(made, 0)) == [7] * 2 + [9] * 6


@examples(40)
@given(weights)
def test_the_digest_is_that_of_the_specification(own):
    sums = np.cumsum(reference.sample_weights(own)).astype("<u8")
    assert orders(own, num_slots=3).digest == xxh3_64_hexdigest(sums.tobytes())


def test_the_digest_tells_weights_apart():
    digests = [orders(own, num_slots=3).digest for own in ([1, 2], [1, 3], [1, 2, 0])]
    assert len(set(digests)) == 3
    assert orders([1, 2], num_slots=5).digest == digests[0]


@pytest.mark.parametrize(("own", "num_slots", "text"), [([0, 0], 2, "all weights are 0"), ([1], 2**31 + 1, "at most")])
def test_what_is_refused(own, num_slots, text):
    with pytest.raises(OptionError, match=text):
        orders(own, num_slots=num_slots)

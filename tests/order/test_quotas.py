"""Quotas are each class's share rounded up or down, sum up to the epoch, and even out over the epochs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.quotas import MAX_EPOCHS, MAX_SLOTS, Quotas, floor_sums, golden_step, integer_weights
from tests.order import reference
from tests.strategies import examples

weights = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 2**31)), min_size=1, max_size=8)


@examples(80)
@given(weights, st.integers(0, MAX_SLOTS), st.integers(0, 12))
def test_equal_the_specification(own, num_slots, epoch):
    quotas = Quotas(own, num_slots)
    found = quotas.of(epoch)
    assert found.tolist() == reference.quotas(own, num_slots, epoch)
    assert found.sum() == num_slots
    assert quotas.before(epoch).tolist() == np.sum([quotas.of(e) for e in range(epoch)] or [0 * found], 0).tolist()


@examples(80)
@given(weights, st.integers(0, MAX_SLOTS), st.integers(0, MAX_EPOCHS - 1))
def test_epochs_follow_one_another_however_late(own, num_slots, epoch):
    quotas, total = Quotas(own, num_slots), sum(own)
    assert (quotas.before(epoch) + quotas.of(epoch) == quotas.before(epoch + 1)).all()
    for count, weight in zip(quotas.of(epoch).tolist(), own, strict=True):
        assert abs(Fraction(num_slots * weight, total) - count) < 1


@given(st.integers(1, 300), st.integers(1, 1000))
def test_equal_weights_come_equally_often_over_the_epochs(classes, num_slots):
    counts = Quotas([1] * classes, num_slots).before(classes)
    assert (counts == num_slots).all()


@given(st.integers(0, 60), st.integers(1, 50), st.integers(0, 200), st.lists(st.integers(0, 300), min_size=1))
def test_floor_sums(count, divisor, step, offsets):
    expected = [sum((step * i + b) // divisor for i in range(count)) for b in offsets]
    assert floor_sums(count, divisor, step, np.array(offsets)).tolist() == expected


@pytest.mark.parametrize(
    ("given_weights", "expected"),
    [
        ([1, 1, 1], (1, 1, 1)),
        ([30, 20], (3, 2)),
        ([0.5, 0.25], (2, 1)),
        ([Fraction(2, 3), 1], (2, 3)),
        ([2**40, 2**39], (2, 1)),
        ([0.1, 0.3], (1073741824, 3221225472)),
    ],
)
def test_weights_are_integers_in_proportion(given_weights, expected):
    assert integer_weights([Fraction(weight) for weight in given_weights]) == expected


def test_a_weight_next_to_nothing_is_refused():
    with pytest.raises(OptionError, match="less than 2\\^-33 of the sum"):
        integer_weights([Fraction(1), Fraction(1, 2**40)])


@given(st.integers(1, 2**40))
def test_the_step_takes_every_shift(total):
    assert golden_step(total) == reference.golden_step(total)

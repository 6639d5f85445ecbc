"""Splits by fractions: exact in each stratum, near in sum, the same everywhere, and as SPEC 7.8 says."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.split_draw import HASH_RANGE, NONE, draw_splits, hash_ranges
from tests.order import reference

weights = st.lists(st.integers(1, 50), min_size=1, max_size=5)
strata = st.lists(st.integers(0, 6), max_size=120)


def fractions_of(numbers, rest):
    total = sum(numbers) + rest
    return [Fraction(number, total) for number in numbers]


def counts(drawn, num_splits):
    return [int((drawn == number).sum()) for number in range(num_splits)]


@given(strata, weights, st.integers(0, 20), st.integers())
def test_draws_as_the_specification_says(strata, numbers, rest, seed):
    fractions = fractions_of(numbers, rest)
    drawn = draw_splits(np.array(strata, np.int64), fractions, seed=seed)
    assert drawn.tolist() == reference.drawn(strata, fractions, seed)


@given(strata, weights, st.integers(0, 20), st.integers())
def test_each_stratum_gives_each_split_its_share(strata, numbers, rest, seed):
    fractions = fractions_of(numbers, rest)
    numbered = np.array(strata, np.int64)
    drawn = draw_splits(numbered, fractions, seed=seed)
    for stratum in set(strata):
        inside = drawn[numbered == stratum]
        for split, fraction in enumerate(fractions):
            assert abs(int((inside == split).sum()) - fraction * len(inside)) < 1
    assert ((drawn == NONE).sum() == 0) or rest


@given(st.integers(0, 300), weights, st.integers())
def test_without_strata_the_largest_remainders_are_rounded_up(count, numbers, seed):
    fractions = fractions_of(numbers, 0)
    found = counts(draw_splits(np.zeros(count, np.int64), fractions, seed=seed), len(fractions))
    rest = count - sum(int(count * fraction) for fraction in fractions)
    by_remainder = sorted(range(len(fractions)), key=lambda i: -(count * fractions[i] % 1))
    assert found == [int(count * fraction) + (i in by_remainder[:rest]) for i, fraction in enumerate(fractions)]


def test_strata_of_one_item_make_up_whole_splits():
    drawn = draw_splits(np.arange(100), [Fraction(9, 10), Fraction(1, 10)], seed=0)
    assert counts(drawn, 2) == [90, 10]


def test_a_seed_decides():
    strata, fractions = np.zeros(50, np.int64), [Fraction(1, 2), Fraction(1, 4)]
    drawn = [draw_splits(strata, fractions, seed=seed).tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert counts(np.array(drawn[2]), 2) == [25, 13]  # of equal remainders the first


def test_thirds_are_not_rounded_before_the_end():
    assert counts(draw_splits(np.zeros(3 * 10**5, np.int64), [Fraction(1, 3)] * 3, seed=0), 3) == [10**5] * 3


@given(weights, st.integers(0, 20))
def test_ranges_of_hashes_follow_one_another(numbers, rest):
    fractions = {str(i): fraction for i, fraction in enumerate(fractions_of(numbers, rest))}
    ranges = list(hash_ranges(fractions).values())
    assert ranges[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    assert all(begin < end for begin, end in ranges)
    assert (ranges[-1][1] == HASH_RANGE) == (not rest)


@pytest.mark.parametrize("count", [0, 1])
def test_few_items(count):
    assert draw_splits(np.zeros(count, np.int64), [Fraction(1, 2), Fraction(1, 2)], seed=0).tolist() == [0] * count

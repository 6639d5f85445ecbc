"""Mixing is arithmetic: every prefix holds the weights, and any item is found without those before it."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.mixture import LONGEST, Schedule, check_mix_length, length_until, shares
from tests.order.reference import mixture
from tests.strategies import examples

weights = st.lists(st.integers(1, 1000), min_size=1, max_size=8)
partition_counts = st.sampled_from([1, 2, 3, 8])
seeds = st.integers(-(2**70), 2**70)


def sequences(schedule, partitions, begin, end):
    """Return (p, n) sources and numbers."""
    partition, offset = (part.reshape(-1) for part in np.mgrid[:partitions, begin:end])
    return tuple(part.reshape(partitions, end - begin) for part in schedule.items(partition, offset))


def prefix_counts(source, kinds):
    return np.cumsum(source[:, :, None] == np.arange(kinds), axis=1)


@examples(60)
@given(weights, partition_counts, seeds)
def test_every_prefix_holds_the_weights(given_weights, partitions, seed):
    parts = shares(given_weights)
    source, number = sequences(Schedule(parts, seed=seed, partitions=partitions), partitions, 0, 300)
    counts = prefix_counts(source, len(parts))
    ideal = np.arange(1, 301)[:, None] * np.array(parts) / 2**32
    assert np.abs(counts - ideal).max() < (1 + 1e-6 if len(parts) <= 2 else 3)
    assert (np.take_along_axis(counts, source[:, :, None], axis=2)[:, :, 0] - 1 == number).all(), "counted without gaps"


@given(st.integers(1, 1000), st.integers(1, 1000), st.integers(1, 64), seeds)
def test_two_datasets_hold_the_weights_over_all_partitions_too(a, b, partitions, seed):
    parts = shares([a, b])
    source, _ = sequences(Schedule(parts, seed=seed, partitions=partitions), partitions, 0, 50)
    taken = np.cumsum((source == 0).sum(axis=0))
    assert np.abs(taken - parts[0] / 2**32 * partitions * np.arange(1, 51)).max() < 1 + 1e-6


@examples(60)
@given(weights, partition_counts, seeds, st.integers(0, 2**50))
def test_single_items_equal_those_of_the_sequence(given_weights, partitions, seed, begin):
    """Items, counts and offsets agree, however far from the start."""
    schedule = Schedule(shares(given_weights), seed=seed, partitions=partitions)
    source, number = sequences(schedule, partitions, begin, begin + 20)
    before, after = schedule.counts(begin), schedule.counts(begin + 20)
    assert (before.sum(axis=1) == begin).all()
    assert (after - before == prefix_counts(source, len(given_weights))[:, -1]).all()
    for p, n in [(0, 0), (partitions - 1, 19), (partitions // 2, 7)]:
        numbers = np.full(partitions, number[p, n])
        assert schedule.offsets(int(source[p, n]), numbers)[p] == begin + n


@given(weights, partition_counts, seeds, st.data())
def test_stop_rules(given_weights, partitions, seed, data):
    shortest = [data.draw(st.integers(1, 30)) for _ in given_weights]
    lengths = np.array(shortest) + np.array([data.draw(st.integers(0, 1)) for _ in range(partitions)])[:, None]
    schedule = Schedule(shares(given_weights), seed=seed, partitions=partitions)
    first, everything = (length_until(schedule, stop, lengths) for stop in ("first", "all"))
    assert (schedule.counts(first) <= lengths).all(), "nothing comes twice"
    assert (schedule.counts(first + 1) > lengths).any(), "and it could not last longer"
    assert (schedule.counts(everything) >= lengths).all(), "everything has come"
    assert (schedule.counts(everything - 1) < lengths).any(), "and not sooner"


@given(weights)
def test_shares_are_rounded_to_the_nearest_and_independent_of_scale(given_weights):
    parts = shares(given_weights)
    assert shares([weight * 2.0**900 for weight in given_weights]) == parts
    for part, weight in zip(parts, given_weights, strict=True):
        assert abs(part - Fraction(weight * 2**32, sum(given_weights))) <= Fraction(1, 2)


@examples(40)
@given(st.lists(st.one_of(st.integers(1, 1000), st.floats(0.01, 100)), min_size=1, max_size=6), partition_counts, seeds)
def test_equals_the_specification(given_weights, partitions, seed):
    source, number = sequences(Schedule(shares(given_weights), seed=seed, partitions=partitions), partitions, 0, 60)
    expected = mixture([Fraction(weight) for weight in given_weights], seed, partitions, 60)
    assert [list(zip(*row, strict=True)) for row in zip(source.tolist(), number.tolist(), strict=True)] == expected


def test_partitions_have_different_phases():
    """What eight ranks take at one moment is a mix as well."""
    source, _ = sequences(Schedule(shares([1, 1]), seed=0, partitions=8), 8, 0, 100)
    assert (source.sum(axis=0) == 4).all()


def test_seeds_differ():
    found = [sequences(Schedule(shares([31, 20, 9]), seed=seed, partitions=1), 1, 0, 99)[0] for seed in range(8)]
    assert all((a != b).any() for a, b in itertools.combinations(found, 2))


def test_golden_schedules():
    """The order is part of the format: these numbers never change."""
    source, number = sequences(Schedule(shares([4, 2, 1]), seed=0, partitions=2), 2, 0, 14)
    assert source.tolist() == GOLDEN
    assert number[0, -1] == 3
    source, _ = sequences(Schedule(shares([0.7, 0.3]), seed=-1, partitions=1), 1, 10**12, 10**12 + 20)
    assert source.tolist() == GOLDEN_FAR


GOLDEN = [
    [0, 0, 1, 0, 2, 0, 1, 0, 0, 1, 0, 2, 0, 1],
    [2, 0, 0, 1, 0, 1, 0, 2, 0, 0, 1, 0, 1, 0],
]
GOLDEN_FAR = [[0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("given_weights", "text"),
    [
        ([], "nothing to mix"),
        ([1, 0], "weight of dataset 1 is 0, expected more than 0; leave it out"),
        ([-1.0], "weight of dataset 0 is -1.0"),
        ([float("nan")], "weight of dataset 0 is nan"),
        ([float("inf"), 1], "weight of dataset 0 is inf"),
        (["1"], "weight of dataset 0 is '1', expected a number"),
        ([True], "expected a number"),
        ([1, 1e-7], "dataset 1 is less than a millionth"),
    ],
)
def test_weights_are_checked(given_weights, text):
    with pytest.raises(OptionError, match=text):
        shares(given_weights)


def test_an_endless_mix_is_refused():
    with pytest.raises(OptionError, match="choose more even weights"):
        check_mix_length(LONGEST + 1)
    with pytest.raises(OptionError, match="choose more even weights"):
        length_until(Schedule(shares([1, 1e-5]), seed=0, partitions=1), "all", np.array([[1, 2**50]]))

"""Forks send exactly as many items to each tier as they should, one a cell, and any item is found by itself."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.forks import Forks, Tree
from tests.strategies import examples

tiers = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 40)), min_size=1, max_size=8)


@examples(80)
@given(tiers, st.integers(-5, 2**64), st.integers(0, 9))
def test_items_are_numbered_without_gaps(given_tiers, seed, epoch):
    weights, counts = zip(*given_tiers, strict=True)
    forks = Forks(Tree(weights), counts, seed, epoch)
    tier, number = forks.items(np.arange(sum(counts)))
    assert np.bincount(tier, minlength=len(counts)).tolist() == list(counts)
    for one, count in enumerate(counts):
        assert number[tier == one].tolist() == list(range(count))
    some = np.arange(sum(counts))[::-3]
    alone = forks.items(some)
    assert (alone[0] == tier[some]).all()
    assert (alone[1] == number[some]).all()


@given(st.integers(1, 500), st.integers(0, 500), st.integers(0, 99))
def test_of_two_tiers_one_item_a_cell_goes_to_the_smaller(few, more, seed):
    forks = Forks(Tree([1, 2]), [few, few + more], seed, 0)
    tier, _ = forks.items(np.arange(2 * few + more))
    cell = np.arange(2 * few + more) * few // (2 * few + more)
    assert (np.bincount(cell[tier == 0], minlength=few) == 1).all()


def test_epochs_and_seeds_differ():
    found = {tuple(Forks(Tree([1, 1]), [50, 50], seed, e).items(np.arange(100))[0]) for seed in (0, 1) for e in (0, 1)}
    assert len(found) == 4

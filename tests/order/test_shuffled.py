"""A permutation by arithmetic: bijection, the text of SPEC 7.2, golden values, evenness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order import shuffled as shuffle
from shardpack.order.permutation import derive_key, permutation
from shardpack.order.shuffled import SORTED_UP_TO, SortedPermutations, shuffled, shuffled_within
from tests.order import reference
from tests.strategies import examples

words = st.integers(0, 2**64 - 1)
LARGE = SORTED_UP_TO + 1


def whole(count, key):
    return shuffled(np.arange(count), count, key)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 255, 256, 300])
def test_small_permutations_are_sorted(count):
    assert whole(count, 77).tolist() == permutation(count, 77).tolist()


@pytest.mark.parametrize("key", [0, 1, 2**64 - 1, derive_key(5, 0, 0)])
def test_a_network_is_a_bijection_for_all_small_counts(monkeypatch, key):
    """The network itself, down to the counts where sorting takes over."""
    monkeypatch.setattr(shuffle, "SORTED_UP_TO", 1)
    for count in range(2, 301):
        assert sorted(whole(count, key).tolist()) == list(range(count)), count


@examples(40)
@given(st.integers(1, 70_000), words)
def test_every_number_comes_once(count, key):
    found = whole(count, key)
    assert found.dtype == np.int64
    assert np.array_equal(np.sort(found), np.arange(count))


@given(st.integers(LARGE, 2**62), words, st.data())
def test_equals_the_specification(count, key, data):
    slots = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=5))
    found = shuffled(np.array(slots), count, key).tolist()
    assert found == [reference.shuffled(slot, count, key) for slot in slots]
    assert all(0 <= number < count for number in found)


@given(st.integers(LARGE, 2**62), words, st.data())
def test_a_slot_does_not_depend_on_the_others_asked(count, key, data):
    slots = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=50)))
    kept = slots.copy()
    found = shuffled(slots, count, key)
    assert np.array_equal(slots, kept), "what is asked is not written to"
    at = data.draw(st.integers(0, len(slots) - 1))
    assert shuffled(slots[at : at + 1], count, key)[0] == found[at]


sizes = st.one_of(st.integers(1, 6), st.sampled_from([SORTED_UP_TO, LARGE, 8191, 8192, 8193, 2**40 + 1]))


@examples(60)
@given(st.lists(st.tuples(sizes, words), min_size=1, max_size=4), st.data())
def test_many_permutations_at_once_equal_single_ones(groups, data):
    slots = [
        data.draw(st.tuples(st.just(g), st.integers(0, groups[g][0] - 1)))
        for g in data.draw(st.lists(st.integers(0, len(groups) - 1), min_size=1, max_size=30))
    ]
    group, slot = np.array(slots).T
    counts, keys = np.array([count for count, _ in groups]), np.array([key for _, key in groups], np.uint64)
    found = shuffled_within(group, slot, counts, keys, SortedPermutations(100)).tolist()
    assert found == [int(shuffled(np.array([x]), *groups[g])[0]) for g, x in slots]


def test_golden_values():
    """Part of the format: these never change."""
    key = derive_key(5, 0, 0)
    assert whole(8, key).tolist() == [3, 7, 2, 1, 6, 5, 4, 0]
    assert shuffled(np.arange(5), LARGE, key).tolist() == [987, 8, 932, 1963, 691]
    assert shuffled(np.arange(5), 100_000_000, key).tolist() == [81488159, 8088300, 83764264, 46404848, 81816480]
    assert shuffled(np.array([0, 2**62 - 1]), 2**62, key).tolist() == [1637816306180137172, 744492230751578172]


def chi_square(found, cells):
    expected = len(found) / cells
    return float(((np.bincount(found, minlength=cells) - expected) ** 2 / expected).sum())


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 24])
def test_small_counts_are_even(count):
    """Each slot gets each number equally often: chi-square below its 0.9999 quantile (4 sigma and a little)."""
    orders = np.array([permutation(count, derive_key(4, 0, 0, 0, w)) for w in range(5000)])
    for slot in range(count):
        assert chi_square(orders[:, slot], count) < (count - 1) + 4 * (2 * count) ** 0.5 + 8


@pytest.mark.parametrize("count", [LARGE, 6000, 65_536, 65_537])
def test_large_counts_are_even_and_separate_neighbours(count):
    cells, keys = 64, np.array([derive_key(5, seed, 0) for seed in range(20_000)], np.uint64)
    counts = np.full(len(keys), count)
    at = {
        x: shuffled_within(np.arange(len(keys)), np.full(len(keys), x), counts, keys, SortedPermutations())
        for x in (0, 1, 64, count - 1)
    }
    limit = (cells - 1) + 4 * (2 * cells) ** 0.5 + 8
    for x, found in at.items():
        assert chi_square(found * cells // count, cells) < limit, x
        distance = (found - at[0]) % count
        assert x == 0 or chi_square(distance * cells // count, cells) < limit, x


def test_one_order_looks_shuffled():
    count = 10_000
    for seed in range(20):
        order = whole(count, derive_key(5, seed, 0))
        assert abs(np.abs(np.diff(order)).mean() - count / 3) < count / 30  # a third in the mean
        assert abs(np.corrcoef(order, np.arange(count))[0, 1]) < 0.05

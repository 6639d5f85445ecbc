"""Positions as bits are the lists that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order import bitmap as bitmap_module
from shardpack.order.bitmap import Bitmap
from tests.order.sequences import check_sequence


@given(st.sets(st.integers(0, 3000), min_size=1, max_size=60), st.integers(0, 100))
def test_a_sequence_of_positions(positions, far):
    expected = sorted(position + far for position in positions)
    check_sequence(Bitmap.of(np.array(expected)), expected, upto=3200)


@pytest.mark.parametrize("every", [1, 2, 3, 63, 64, 65])
def test_counts_of_blocks_are_right_at_their_borders(every):
    expected = np.arange(1000, 90_000, every)
    found = Bitmap.of(expected)
    items = np.random.default_rng(0).permutation(len(expected))
    assert (found.at(items) == expected[items]).all()
    assert (found.at(np.arange(len(expected))) == expected).all()
    assert [found[item] for item in items[:999].tolist()] == expected[items[:999]].tolist()


def test_its_pickle_is_its_bits():
    rng = np.random.default_rng(0)
    found = Bitmap.of(np.flatnonzero(rng.random(1_000_000) < 0.3))
    (_, (_, bits)) = found.__reduce__()
    assert bits.nbytes <= 125_008


def test_an_empty_one():
    check_sequence(Bitmap(0, np.zeros(0, np.uint8)), [])
    check_sequence(Bitmap(8, np.zeros(16, np.uint8)), [])


def test_many_items_are_found_in_pieces_of_bounded_memory(monkeypatch):
    monkeypatch.setattr(bitmap_module, "PIECE", 8)
    check_sequence(Bitmap.of(np.arange(5, 100, 7)), list(range(5, 100, 7)))

"""Runs of positions are the lists that they stand for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order import runs as runs_module
from shardpack.order.runs import Runs
from tests.order.sequences import check_sequence


@st.composite
def runs(draw):
    """Return ascending runs without gaps inside, or one evenly spaced run."""
    if draw(st.booleans()):
        step = draw(st.sampled_from([1, 3, -2]))
        return Runs([draw(st.integers(20, 50))], [draw(st.integers(1, 9))], step)
    begin, count, at = [], [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=5)):
        begin.append(at + gap)
        count.append(length)
        at += gap + length
    return Runs(begin, count)


def listed(found):
    pairs = zip(found.begin.tolist(), found.count.tolist(), strict=True)
    return [begin + found.step * item for begin, count in pairs for item in range(count)]


@given(runs())
def test_a_sequence_of_positions(found):
    check_sequence(found, listed(found))


@given(runs(), st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 2, -1]))
def test_slices(found, start, stop, step):
    items = range(*slice(start, stop, step).indices(len(found)))
    part = found.slice(items)
    if part is None:
        assert step != 1
        assert len(found.begin) > 1
    else:
        assert listed(part) == [listed(found)[item] for item in items]


@given(st.integers(-5, 30), st.integers(-5, 30), st.sampled_from([1, 2, -1, -3]))
def test_of_a_range(start, stop, step):
    assert listed(Runs.of_range(range(start, stop, step))) == list(range(start, stop, step))


def test_pieces_are_bounded():
    found = Runs([7], [3 * runs_module.PIECE])
    assert [len(piece) for piece in found.pieces()] == [runs_module.PIECE] * 3


@pytest.mark.parametrize("far", [0, 1 << 40])
def test_pickles_take_as_few_bytes_as_the_numbers_need(far):
    found = Runs(np.arange(0, 40_000, 4) + far, np.full(10_000, 2))
    again_type, arguments = found.__reduce__()
    assert again_type is Runs
    assert sum(array.nbytes for array in arguments[:2]) == (120_000 if far else 80_000)

"""Runs of positions are the lists that they stand for."""

from __future__ import annotations

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order import runs as runs_module
from shardpack.order.runs import Runs

runs = st.builds(
    lambda pairs, step: Runs([begin for begin, _ in pairs], [count for _, count in pairs], step),
    st.lists(st.tuples(st.integers(0, 100), st.integers(1, 9)), max_size=4),
    st.sampled_from([1, 1, 3]),
)


def listed(found):
    pairs = zip(found.begin.tolist(), found.count.tolist(), strict=True)
    return [begin + found.step * item for begin, count in pairs for item in range(count)]


@given(runs)
def test_a_sequence_of_positions(found):
    expected = listed(found)
    assert len(found) == len(expected)
    assert [found[item] for item in range(len(found))] == expected
    assert found.at(np.arange(len(found))).tolist() == expected
    assert [position for piece in found.pieces() for position in piece.tolist()] == expected
    assert [position for position in range(140) if found.holds(position)] == sorted({p for p in expected if p < 140})
    assert listed(pickle.loads(pickle.dumps(found))) == expected


@given(runs, st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 2, -1]))
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


def test_everything():
    assert Runs([0], [5]).is_everything(5)
    assert Runs([], []).is_everything(0)
    assert not any(other.is_everything(5) for other in (Runs([0], [4]), Runs([1], [5]), Runs([4], [5], -1)))


def test_pieces_are_bounded():
    found = Runs([7], [3 * runs_module.PIECE])
    assert [len(piece) for piece in found.pieces()] == [runs_module.PIECE] * 3

"""Columns behave as lists of the same values do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.columns import Chosen, Texts, lengths

texts = st.lists(st.binary(max_size=5), max_size=6)


@given(texts, st.integers(-8, 8), st.integers(-8, 8))
def test_texts_are_a_list(values, first, stop):
    column = Texts(values)
    assert list(column) == values
    assert column[first:stop] == values[first:stop]
    assert [column[-number - 1] for number in range(len(values))] == values[::-1]
    assert lengths(column).tolist() == list(map(len, values))


@pytest.mark.parametrize("number", [2, -3])
def test_there_is_no_text_behind_the_last(number):
    with pytest.raises(IndexError):
        Texts([b"a", b"b"])[number]


@given(texts, texts, st.data())
def test_chosen_values_are_a_list(one, other, data):
    column, expected = Chosen.joined([one, Texts(other)]), one + other
    order = data.draw(st.lists(st.integers(0, len(expected) - 1))) if expected else []
    column, expected = column.take(np.array(order, np.int64)), [expected[number] for number in order]
    assert list(column) == expected == [column[number] for number in range(len(order))]
    assert column == expected
    assert column != [*expected, b""]
    assert column[1:3] == expected[1:3]
    is_new = data.draw(st.permutations([False] * len(expected) + [True] * 3))
    rest, more = iter(expected), [b"0", b"1", b"2"]
    others = iter(more)
    together = [next(others if new else rest) for new in is_new]
    assert list(column.inserted(np.array(is_new), more)) == together


def test_only_what_was_chosen_is_pickled():
    column = Chosen.of([b"x" * 1000, b"y"]).take(np.array([1]))
    text = pickle.dumps(column)
    assert len(text) < 100
    assert pickle.loads(text) == [b"y"]

"""One checker of arguments: Python's and NumPy's integers alike, no bools, one style of message."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.runtime.arguments import as_integer, as_jobs, as_names, as_number, integer_or_none, one_of


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_of_both_kinds(number):
    for value in (number, np.int64(number)):
        assert as_integer("n", value) == number
        assert type(as_integer("n", value)) is int


@pytest.mark.parametrize("value", [True, False, np.True_, 1.0, np.float64(1), "1", None, [1], np.array([1])])
def test_what_is_no_integer_is_refused(value):
    assert integer_or_none(value) is None
    with pytest.raises(OptionError, match=re.escape(f"n is {value!r}, expected an integer")):
        as_integer("n", value)


@pytest.mark.parametrize(
    ("value", "bounds", "says"),
    [
        (0, {"minimum": 1}, "n is 0, expected an integer of at least 1"),
        (9, {"maximum": 8}, "n is 9, expected an integer of at most 8"),
        (9, {"minimum": 1, "maximum": 8}, "n is 9, expected an integer from 1 to 8"),
        (10**200, {"maximum": 8}, "n is 1" + "0" * 96 + "..., expected"),
    ],
)
def test_bounds_are_named(value, bounds, says):
    with pytest.raises(OptionError, match=re.escape(says)):
        as_integer("n", value, **bounds)


def test_bounds_are_included():
    assert [as_integer("n", value, minimum=1, maximum=3) for value in (1, 3)] == [1, 3]


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.int8(3)])
def test_numbers(value):
    assert as_number("x", value) == value
    assert type(as_number("x", value)) is float


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**10, 10**400, True, "1", b"1", None])
def test_what_is_no_number_above_0_is_refused(value):
    with pytest.raises(OptionError, match=r"^x is .*, expected a number above 0$"):
        as_number("x", value)


def test_choices():
    assert one_of("mode", "a", ("a", "b")) == "a"
    assert one_of("mode", None, ("a", None)) is None
    with pytest.raises(OptionError, match=r"^mode is 'c'; choose 'a', 'b' or 'd'$"):
        one_of("mode", "c", ("a", "b", "d"))
    with pytest.raises(OptionError, match=r"^mode is \['a'\]; choose 'a', or leave it out$"):
        one_of("mode", ["a"], ("a", None))
    with pytest.raises(OptionError, match=r"^mode is array"):
        one_of("mode", np.array(["a", "b"]), ("a", "b"))


def test_jobs():
    assert as_jobs(None) is None
    assert as_jobs(np.int64(2)) == 2
    for jobs in (0, True, 1.5):
        with pytest.raises(OptionError, match=rf"^jobs is {jobs}, expected an integer of at least 1$"):
            as_jobs(jobs)


def test_names_are_each_there_once():
    assert as_names("fields", ["b", "a", "b"]) == ("b", "a")
    assert as_names("fields", iter(())) == ()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("jpg", r"fields is a list of names; write fields=\['jpg'\]"),
        (0, "fields has 0 where a name is expected; write"),
        (b"jpg", "fields has 106 where a name is expected"),
        (["jpg", ["json"]], r"fields has \['json'\] where a name is expected"),
    ],
)
def test_what_is_not_names(names, says):
    with pytest.raises(OptionError, match=says):
        as_names("fields", names)

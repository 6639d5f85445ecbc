"""The types of labels: the smallest one that holds all values, in whatever order they are seen."""

from __future__ import annotations

import json
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.label_types import (
    JSON,
    MAX_MEMBERS,
    NULL,
    STR,
    LabelType,
    converter_to,
    json_text,
    merge,
    merge_members,
    object_of,
    plain_json_text,
    storable,
    type_of,
)
from tests.strategies import examples

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([None], "null"),
        ([True, None], "bool"),
        ([1, -5], "int"),
        ([2**53, 2**53 + 1], "long"),
        ([2**63], "json"),
        ([-(2**63)], "long"),
        ([1, 2.5], "float"),
        ([2**60, 2.5], "json"),
        ([1, True], "json"),
        (["a", 1], "json"),
        (["a", None], "str"),
        (["\udcff"], "json"),
        ([[1], 1], "json"),
        ([{}, []], "json"),
    ],
)
def test_the_type_of_values(values, expected):
    assert reduce(merge, map(type_of, values)).name == expected


def test_lists_and_objects_are_merged_inside():
    first, second = type_of({"a": [1], "b": None}), type_of({"a": [2.5, None], "c": "x"})
    assert merge(first, second) == object_of({"a": LabelType("list", LabelType("float")), "b": NULL, "c": STR})


def test_an_object_with_many_names_is_a_map():
    assert type_of({str(number): 1 for number in range(MAX_MEMBERS)}).name == "object"
    assert type_of({str(number): 1 for number in range(MAX_MEMBERS + 1)}) == JSON
    halves = [type_of({str(number): 1 for number in range(start, start + 60)}) for start in (0, 60)]
    assert merge(*halves) == JSON


@examples(100)
@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(values, random):
    types = list(map(type_of, values))
    whole = reduce(merge, types)
    random.shuffle(types)
    middle = random.randint(0, len(types))
    halves = [reduce(merge, half) for half in (types[:middle], types[middle:]) if half]
    assert reduce(merge, halves) == whole
    assert all(merge(whole, one) == whole for one in types)


def held(value, kind):
    """Return what readers see in a column: JSON text parsed, names that are missing as null."""
    if value is None:
        return None
    if kind.name == "json":
        return json.loads(value)
    if kind.name == "list":
        return [held(one, kind.element) for one in value]
    if kind.name == "object":
        return {name: held(value.get(name), one) for name, one in kind.members}
    assert isinstance(value, {"bool": bool, "int": int, "long": int, "float": (int, float), "str": str}[kind.name])
    return value


def filled(value, kind):
    """Return a value with null for each name that its type has and it lacks."""
    if kind.name == "list" and isinstance(value, list):
        return [filled(one, kind.element) for one in value]
    if kind.name == "object" and isinstance(value, dict):
        return {name: filled(value.get(name), one) for name, one in kind.members}
    return value


@examples(100)
@given(st.lists(VALUES, min_size=1, max_size=4))
def test_a_column_of_the_type_holds_each_value(values):
    kind = storable(reduce(merge, map(type_of, values)))
    assert kind.name != "null"
    convert = converter_to(kind) or (lambda value: value)
    assert (converter_to(kind) is None) == (not kind.has_json)
    for value in values:
        assert held(convert(value), kind) == filled(value, kind)


def test_json_text_is_always_utf_8():
    assert json_text(None) is None
    assert json_text({"a": "é"}) == '{"a": "é"}'
    assert json_text("\udcff").encode() == b'"\\udcff"'


def test_members_are_merged_by_name():
    assert merge_members({"a": STR}, {"a": NULL, "b": STR}) == {"a": STR, "b": STR}


def test_plain_text_is_one_for_values_that_typed_columns_do_not_tell_apart():
    value = {"b": [1.0, 2.5, None, True], "a": {"n": None}, "A": -0.0, "long": 2.0**60, "inf": float("inf")}
    assert plain_json_text(value) == (
        '{"A": 0, "a": {}, "b": [1, 2.5, null, true], "inf": Infinity, "long": 1.152921504606847e+18}'
    )
    assert plain_json_text(1.0) == plain_json_text(1) == "1"
    assert plain_json_text(None) is None

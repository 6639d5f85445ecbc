"""Columns have one name each and one type, and the values of JSON come back from them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.label_types import FLOAT, INT, JSON, LONG, NULL, STR, LabelType, merge, type_of
from shardpack.table.schema import (
    MAX_LABELS,
    OWN,
    arrow_column,
    arrow_type,
    cast,
    column_name,
    merge_types,
    metadata_of,
    names_in_sql,
    own_types,
    plain_values,
    type_of_values,
    types_of,
)
from tests.strategies import examples

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | TEXTS
)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(TEXTS, one, max_size=3), max_leaves=8
)


@pytest.mark.parametrize(
    ("field", "name", "column"),
    [
        ("json", "score", "score"),
        ("json", "class", "json_class"),
        ("json", "Width", "json_Width"),
        ("json", "json_width", "json_json_width"),
        ("json", "json_score", "json_score"),
        ("json", "", "json_"),
        ("json", "json_", "json_json_"),
        ("json", "more", "json_more"),
        ("json", "json", "json_json"),
        ("json", "meta.json.a", "json_meta.json.a"),
        ("json", "a.jsonl", "a.jsonl"),
        ("json", "\ud800", "\\ud800"),
        ("meta.json", "width", "meta.json.width"),
    ],
)
def test_names_of_columns(field, name, column):
    assert column_name(field, name) == column


@given(
    st.lists(
        st.sampled_from(["", "json_", "class", "CLASS", "x", ".json", "a.json.b", "json", "more"]), max_size=4
    ).map("".join)
)
def test_no_label_is_called_like_another_column(name):
    column = column_name("json", name)
    assert column.lower() not in {*OWN, "more", "json", ""}
    assert not column.startswith("a.json")
    assert column in {name, f"json_{name}"}
    assert column_name("json", column) != column or column == name


def test_names_that_differ_in_case_only_are_told_apart_in_sql():
    assert names_in_sql(["a", "A", "a_1", "b"], but="B") == {"a": "a", "A": "A_1", "a_1": "a_1_1", "b": "b_1"}


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ([None, None], NULL),
        ([1, None], INT),
        ([2**60, 1], LONG),
        ([1, 2.5], FLOAT),
        ([2**60, 2.5], JSON),
        (["a", None], STR),
        (["a", 1], JSON),
        ([True, 1], JSON),
        (["\ud800"], JSON),
        ([[1], [2.5], []], LabelType("list", FLOAT)),
        ([[1], "a"], JSON),
    ],
)
def test_the_rule_of_types(found, kind):
    assert type_of_values(found) == kind


@given(st.lists(VALUES, max_size=6))
def test_types_of_columns_are_merged_types_of_values(found):
    expected = NULL
    for value in found:
        expected = merge(expected, type_of(value))
    assert type_of_values(found) == expected


def without_nulls(value):
    """Return a value of JSON without names whose value is null: columns do not tell them from missing ones."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@given(st.lists(VALUES, max_size=6))
def test_values_come_back_from_columns(found):
    kind = type_of_values(found)
    column = arrow_column(found, kind)
    assert column.type == arrow_type(kind)
    assert without_nulls(plain_values(column, kind)) == without_nulls(found)


@examples(200)
@given(st.lists(VALUES, min_size=1, max_size=5), st.lists(VALUES, max_size=5))
def test_casting_is_the_same_as_the_larger_type_at_once(found, others):
    before = type_of_values(found)
    after = merge(before, type_of_values(others))
    column = cast(arrow_column(found, before), before, after)
    assert column.type == arrow_type(after)
    assert without_nulls(plain_values(column, after)) == without_nulls(found)


@given(st.dictionaries(TEXTS, VALUES.map(type_of), max_size=4))
def test_metadata_brings_types_back(types):
    assert types_of(metadata_of(types)) == types
    assert list(types_of(metadata_of(types))) == list(types)


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {b"shardpack": b"x"}, {b"shardpack": b"[]"}, {b"shardpack": b'{"version": 2, "labels": {}}'}]
    + [
        {b"shardpack": json.dumps({"version": 1, "labels": labels}).encode()}
        for labels in ([], {"a": "x"}, {"a": []}, {"a": 1})
    ],
)
def test_metadata_of_others(metadata):
    assert types_of(metadata) is None


def test_names_beyond_the_first_are_no_columns():
    first = {f"n{number}": INT for number in range(MAX_LABELS - 1)}
    merged = merge_types(first, {"x": STR, "y": STR, "n3": FLOAT})
    assert list(merged) == [*first, "x"]
    assert merged["n3"] == FLOAT


def test_own_columns_have_their_types():
    types = own_types()
    assert tuple(types) == OWN
    assert (types["bytes"], types["width"], types["key"]) == (pa.int64(), pa.int32(), pa.string())

"""Columns as keys and as classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shardpack.sources.formats.column_scan import can_be_keys, classes_in, with_text_classes
from shardpack.sources.formats.mapping import RowMapping

TEXTS = RowMapping(label_column="label", text_label=True)


@pytest.mark.parametrize(
    ("parts", "can"),
    [
        ([(None, ["a", "b"]), (None, ["c", 4])], True),
        ([(None, ["a", "b"]), (None, ["a"])], False),
        ([("train", ["a", "b"]), ("test", ["a"])], True),
        ([(None, ["a.jpg", "a.png"])], False),
        ([(None, ["a", "A"])], False),
        ([(None, ["a", None])], False),
        ([(None, ["a", 0.5])], False),
        ([(None, ["a b"])], False),
        ([], True),
    ],
)
def test_keys_are_safe_and_different_within_each_split(parts, can):
    assert can_be_keys(parts) is can


def test_texts_are_classes_unless_they_are_many():
    parts = [["wolf", "ant", None], ["wolf"]]
    assert classes_in(parts) == ("ant", "wolf")
    assert classes_in(parts, most=1) is None
    assert classes_in([[1, 2]]) is None
    assert classes_in([[], [None]]) is None


@pytest.mark.parametrize("other", [0, -1, True, 0.5, ["a", "b"], {"a": 1}])
def test_texts_beside_other_values_are_no_classes(other):
    assert classes_in([["ant"], [other]]) is None


def test_texts_of_the_label_column_become_classes():
    values = {"label": ["wolf", b"ant", None, ["ant"], [], [b"\xff", b"a"], np.array("bee"), np.str_("cat")]}
    mapping = with_text_classes(TEXTS, values.__getitem__)
    assert mapping == replace(TEXTS, classes=("ant", "bee", "cat", "wolf"))
    assert mapping.fields({"label": b"wolf"}) == {"json": {"label": 3, "class": "wolf"}}
    assert with_text_classes(TEXTS, values.__getitem__, most=3) == TEXTS


@pytest.mark.parametrize(
    "mapping",
    [
        replace(TEXTS, label_column=None),
        replace(TEXTS, text_label=False),
        replace(TEXTS, classes=("ant",)),
        replace(TEXTS, class_list=("ant",)),
    ],
)
def test_no_value_is_read_where_classes_are_known_or_no_texts(mapping):
    assert with_text_classes(mapping, pytest.fail) is mapping

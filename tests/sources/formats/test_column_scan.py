"""Columns as keys and as classes."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.column_scan import can_be_keys, classes_in


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

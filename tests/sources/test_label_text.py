"""Labels that a table holds as text are those of the one shape again; any other text stays."""

from __future__ import annotations

import json

import pytest

from shardpack.sources.label_text import from_text, texts_among

RUNS = {"size": [2, 3], "counts": "61"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("annotations", []),
        ("annotations", [{"bbox": [1, 2, 3.5, 4], "class": "cat"}, {}]),
        ("segments_info", [{"id": 3}]),
        ("captions", ["a dog", "é"]),
        ("segmentation", [[1, 2, 3, 4, 5, 6]]),
        ("segmentation", RUNS),
        ("keypoints", [1, 2, 2]),
    ],
)
def test_texts_of_the_shape(name, value):
    assert from_text(name, json.dumps(value)) == value
    assert from_text(name, value) == value
    assert texts_among([{name: json.dumps(value)}, {}]) == f"{name} read as JSON"
    assert not texts_among([{name: value}])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("annotations", '{"bbox": [1, 2, 3, 4]}'),
        ("annotations", "[1, 2]"),
        ("annotations", "[{"),
        ("captions", "[1, 2]"),
        ("captions", "[a dog] in a box"),
        ("captions", '"a dog"'),
        ("segmentation", "[1, 2]"),
        ("keypoints", '["x"]'),
        ("keypoints", "[true, 1]"),
        ("tags", '["a"]'),
        ("objects", '[{"bbox": [1, 2, 3, 4]}]'),
    ],
)
def test_other_texts_stay(name, text):
    assert from_text(name, text) == text
    assert not texts_among([{name: text}])


def test_annotations_of_a_table():
    """Its columns have all members in all objects, and what is of several types is a text."""
    found = [
        {"bbox": [1, 2, 3, 4], "segmentation": json.dumps(RUNS), "area": None, "note": "{"},
        {"bbox": None, "segmentation": "[[1, 2, 3, 4, 5, 6]]", "area": 3, "note": None},
    ]
    assert from_text("annotations", found) == [
        {"bbox": [1, 2, 3, 4], "segmentation": RUNS, "note": "{"},
        {"segmentation": [[1, 2, 3, 4, 5, 6]], "area": 3},
    ]
    assert texts_among([{"annotations": found}]) == "segmentation read as JSON"

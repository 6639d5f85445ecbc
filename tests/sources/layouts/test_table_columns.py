"""The column that names images is the one whose values do; where two do, none is guessed."""

from __future__ import annotations

import pytest

from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.table_columns import caption_column, key_columns, label_column

IMAGES = NamedImages([f"a/{number}.jpg" for number in range(100)])


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        ({"id": range(100), "label": [number % 10 for number in range(100)]}, "id"),  # names more images
        ({"n": range(100), "file": [f"{number}.jpg" for number in range(100)]}, "file"),  # says more of the path
        ({"file": ["a/1.jpg"] * 9 + ["b/1.jpg"]}, "file"),
        ({"file": ["a/1.jpg"] * 8 + ["b/1.jpg"] * 2}, None),
        (
            {"one": [f"{number}.jpg" for number in range(100)], "two": [f"{99 - number}.jpg" for number in range(100)]},
            None,
        ),
        ({"file": ["1.jpg", "", None], "x": ["", "", ""]}, "file"),
        ({"x": ["cat", "dog"]}, None),
        ({"x": []}, None),
    ],
)
def test_key(columns, column):
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    found = key_columns(list(columns), rows, IMAGES)
    assert found.column == column
    assert all(0 < share <= 1 for share in found.shares.values())


def test_shares():
    found = key_columns(["file", "x"], [["1.jpg", "a"], ["2.jpg", "b"], ["x.jpg", "c"], ["y.jpg"]], IMAGES)
    assert (found.column, found.shares) == (None, {"file": 0.5})


@pytest.mark.parametrize(
    ("columns", "values", "label"),
    [
        (["file", "label", "age"], [], "label"),
        (["Class", "file"], [], "Class"),
        (["file", "label", "class"], [], None),
        (["file", "breed"], ["x", "y", "x"], "breed"),
        (["file", "breed"], [3, 4, 3], "breed"),
        (["file", "breed"], ["x", "y", "z"], None),
        (["file", "boxes"], [[1], [1]], None),
        (["file", "caption"], ["x", "x"], None),
        (["file", "a", "b"], ["x", "x"], None),
        (["file"], [], None),
    ],
)
def test_label(columns, values, label):
    assert label_column(columns, [["1.jpg", value] for value in values], "file") == label


@pytest.mark.parametrize(
    ("columns", "caption"),
    [
        (["file", "caption"], "caption"),
        (["file", " comment_number", " Comment"], " Comment"),
        (["file", "text", "label"], None),
        (["file", "caption", "description"], None),
        (["file", "label"], None),
    ],
)
def test_caption(columns, caption):
    assert caption_column(columns, "file") == caption

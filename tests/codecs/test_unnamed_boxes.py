"""Boxes without a telling name are found, and what is called something else is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shardpack.codecs.coordinates import find_coordinates, find_in_field
from shardpack.codecs.unnamed_boxes import are_boxes, find_box, find_box_columns

SIDE = 640


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ([[1, 2, 3, 4]], "its top level"),
        ([10, 20, 110, 220], "its top level"),
        ([[10, 20, 110, 220], [0, 0, 640, 480.5]], "its top level"),
        ({"dog": [600, 20, 40, 620]}, "dog"),
        ({"dogs": [[10, 20, 110, 220], [1, 2, 3, 4]]}, "dogs"),
        ({"found": [{"what": "dog", "where": (10, 20, 110, 220)}]}, "found[0].where"),
        ([[["a", 3], [10, 20, 110, 220]]], "[0][1]"),
        ({"dog": "[600, 20, 40, 620]"}, "dog"),
        ([{"found": '{"dog": [[600, 20, 40, 620]]}'}], "[0].found.dog"),
    ],
)
def test_found(label, where):
    assert find_box(label, SIDE) == find_coordinates(label, side=SIDE) == where
    assert find_in_field("json", json.dumps(label).encode(), side=SIDE) == where
    assert find_coordinates(label) is None, "without a size, names decide"


@pytest.mark.parametrize(
    "label",
    [
        3,
        [],
        [[]],
        {"mean_rgba": [10, 20, 110, 220], "averageColor": [10, 20, 110, 220]},
        {"labels": [1, 5, 9, 12], "class_ids": [[1, 5, 9, 12]], "tags": {"a": [1, 5, 9, 12]}},
        {"embedding": [[1, 5, 9, 12]], "scores": [2, 3, 4, 5]},
        {"votes": [2, 3, 5, 7], "camera": {"exposure": [1, 30, 2, 60]}, "neighbours": [12, 18, 40, 77]},
        {"ratings": [1, 2, 3, 4], "topk": [5, 17, 20, 30], "years": [10, 20, 30, 40]},
        {"a": [0.1, 0.2, 0.5, 0.9], "b": [0.25, 0.75, 1, 1]},
        {"a": [10, 20, 110], "b": [10, 20, 110, 220, 5], "c": [10, 20, 110, "220"], "d": [10, 20, True, 30]},
        {"a": [-1, 20, 110, 220], "b": [700, 20, 710, 40], "c": [10, 20, 650, 40], "d": [10, 20, 0, 40]},
        {"camera": [[500, 0, 320, 0], [0, 500, 240, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
        {
            "attributes": [0, 1, 0, 1],
            "hat": [0, 1, 0, 1],
            "ones": [1, 1, 1, 1],
            "flags": [True, 3, 9, 9],
            "attrs": [1, 2, 3, 3],
        },
        {"tags": [3, 7, 12, 15], "image_tags": [3, 7, 12, 15], "hat": "[0, 1, 0, 1]", "tag": "[3, 7, 12, 15]"},
        {"rows": [[10, 20, 110, 220], [-1, 2, 3, 4]]},
        [float("nan"), 20, 110, 220],
    ],
)
def test_not_found(label):
    assert find_box(label, SIDE) is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("10,20,110,220\n1,2,3,4\n", "columns 1 to 4"),
        ("cat;10;20;110;220\n\ndog;1;2;3;4", "columns 2 to 5"),
        ("a\t-3\t10.5\t20\t110\t220", "columns 3 to 6"),
        ("cat,10,20,110,220\ndog,1,2,3\n", None),
        ("cat,10,20,110,220\ndog,-1,2,3,4\n", None),
        ("a,b,c,d\n10,20,110,220\n", None),
        ("10,20,110\n", None),
        (",".join(map(str, range(1, 30))), None),
        ("", None),
    ],
)
def test_a_table_without_names(text, where):
    assert find_box_columns(text, SIDE) == where
    assert find_in_field("csv", text.encode(), side=SIDE) == where


def test_arrays():
    boxes = np.array([[10, 20, 110, 220], [1, 2, 3, 4]])
    assert are_boxes(boxes, SIDE)
    assert are_boxes(boxes.astype(np.float32), SIDE)
    assert not any(are_boxes(other, SIDE) for other in (boxes.T, boxes[:0], boxes[0], -boxes, boxes[None], 3))

"""Lines of YOLO say what the annotations say: our own reader gives it back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.image_size import ImageSize
from shardpack.codecs.polygons import polygon_area
from shardpack.errors import ExportError
from shardpack.export.formats.yolo_lines import YoloLines, joined
from shardpack.sources.annotations.yolo_lines import YoloParser
from tests.strategies import examples


@st.composite
def boxes(draw):
    width, height = draw(st.integers(1, 5000)), draw(st.integers(1, 5000))
    x, y = draw(st.floats(0, width)), draw(st.floats(0, height))
    return width, height, [x, y, draw(st.floats(0, width - x)), draw(st.floats(0, height - y))]


def back(lines, width, height, **options):
    label = YoloParser(**options)(lines.text().encode(), ImageSize(width, height))
    return label["annotations"]


@examples(100)
@given(boxes(), st.integers(0, 90))
def test_boxes_come_back(drawn, number):
    width, height, box = drawn
    lines = YoloLines("detect", width, height)
    lines.add(number, {"bbox": box})
    [found] = back(lines, width, height)
    assert found["category_id"] == number
    assert all(math.isclose(one, other, abs_tol=0.002) for one, other in zip(found["bbox"], box, strict=True))


def test_polygons_come_back():
    polygon = [1, 2, 30.5, 2, 30.5, 20]
    lines = YoloLines("segment", 32, 24)
    lines.add(0, {"segmentation": [polygon]})
    [found] = back(lines, 32, 24)
    assert found["segmentation"] == [polygon]


def test_key_points_come_back():
    lines = YoloLines("pose", 32, 24)
    lines.add(0, {"bbox": [0, 0, 32, 24], "keypoints": [1, 2, 2, 0, 0, 0, 31, 23.5, 1]})
    [found] = back(lines, 32, 24, keypoints=(3, 3))
    assert found["keypoints"] == [1, 2, 2, 0, 0, 0, 31, 23.5, 1]
    assert found["bbox"] == [0, 0, 32, 24]
    assert lines.num_keypoints == 3


def test_polygons_of_one_object_are_joined():
    squares = [[x, 0, x + 2, 0, x + 2, 2, x, 2] for x in (0, 10, 20)]
    whole = joined(squares)
    assert polygon_area(np.array(whole, float).reshape(-1, 2)) == 12
    assert {tuple(whole[i : i + 2]) for i in range(0, len(whole), 2)} == {
        tuple(square[i : i + 2]) for square in squares for i in range(0, 8, 2)
    }
    lines = YoloLines("segment", 32, 24)
    lines.add(0, {"segmentation": squares})
    assert len(back(lines, 32, 24)[0]["segmentation"][0]) == len(whole)


def test_what_is_a_little_outside_is_moved_to_the_border():
    lines = YoloLines("detect", 10, 10)
    lines.add(0, {"bbox": [-0.5, 0, 11, 10.5]})
    assert lines.text() == "0 0.5 0.5 1 1\n"


@pytest.mark.parametrize(
    ("task", "annotation", "message"),
    [
        ("detect", {"bbox": [0, 0, 12, 5]}, "outside the image of 10 x 10"),
        ("detect", {}, "has no box"),
        ("detect", {"bbox": [0, 0, 5, 5], "iscrowd": 1}, r"--drop crowd"),
        ("segment", {"bbox": [0, 0, 5, 5]}, "has no polygon"),
        ("segment", {"segmentation": {"size": [10, 10], "counts": [100]}}, "has no polygon"),
        ("pose", {"bbox": [0, 0, 5, 5]}, "keypoints are None"),
        ("pose", {"bbox": [0, 0, 5, 5], "keypoints": [1, 2]}, "expected x, y and v"),
        ("pose", {"bbox": [0, 0, 5, 5], "keypoints": []}, "expected x, y and v"),
    ],
)
def test_what_a_line_cannot_hold(task, annotation, message):
    with pytest.raises(ExportError, match=message):
        YoloLines(task, 10, 10).add(0, annotation)


def test_as_many_key_points_in_each():
    lines = YoloLines("pose", 10, 10)
    lines.add(0, {"bbox": [0, 0, 5, 5], "keypoints": [1, 1, 1]})
    with pytest.raises(ExportError, match="got 1 and 2"):
        lines.add(0, {"bbox": [0, 0, 5, 5], "keypoints": [1, 1, 1] * 2})


def test_positions_that_are_no_numbers_are_refused():
    with pytest.raises(ExportError, match="is outside the image of 32 x 24 pixels"):
        YoloLines("detect", 32, 24).add(0, {"bbox": [math.nan] * 4})

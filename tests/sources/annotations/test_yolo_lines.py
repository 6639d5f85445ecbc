"""Relative numbers become pixels; whatever is no box, polygon or pose is refused with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.annotations.yolo_lines import YoloParser
from shardpack.sources.label_shape import label_problems

SIZE = ImageSize(200, 100)
NAMES = {0: "cat", 2: "dog"}
shares = st.floats(0, 1, allow_nan=False)


def parsed(text, *, names=NAMES, keypoints=None, size=SIZE):
    return YoloParser(names, keypoints=keypoints)(text if text is None else text.encode(), size)


def test_a_box():
    assert parsed("2 0.5 0.5 0.2 0.1\n\n0 .1 1e-1 0.2 0.2\r\n") == {
        "width": 200,
        "height": 100,
        "annotations": [
            {"bbox": [80, 45, 40, 10], "category_id": 2, "label": 2, "class": "dog"},
            {"bbox": [0, 0, 40, 20], "category_id": 0, "label": 0, "class": "cat"},
        ],
    }


def test_without_names_and_with_numbers_of_classes_as_floats():
    assert parsed("7.0 0.5 0.5 1 1", names=None)["annotations"] == [
        {"bbox": [0, 0, 200, 100], "category_id": 7, "label": 7}
    ]


@pytest.mark.parametrize("text", ["", "\n \n", None, "\ufeff"])
def test_no_lines_no_boxes(text):
    assert parsed(text) == {"width": 200, "height": 100, "annotations": []}
    assert parsed(text, size=ImageSize(200, 100, 6))["annotations"] == []


def test_a_polygon():
    assert parsed("0 0.1 0.1 0.5 0.1 0.5 0.5")["annotations"] == [
        {
            "bbox": [20, 10, 80, 40],
            "category_id": 0,
            "label": 0,
            "class": "cat",
            "segmentation": [[20, 10, 100, 10, 100, 50]],
        }
    ]


def test_key_points():
    (found,) = parsed("0 0.5 0.5 0.2 0.1 0.5 0.5 2 0.3 0.3 0 0 1 1", keypoints=(3, 3))["annotations"]
    assert found["keypoints"] == [100, 50, 2, 0, 0, 0, 0, 100, 1]
    assert found["num_keypoints"] == 2
    assert found["bbox"] == [80, 45, 40, 10]
    (found,) = parsed("0 0.5 0.5 0.2 0.1 0.5 0.5 0 0", keypoints=(2, 2))["annotations"]
    assert found["keypoints"] == [100, 50, 2, 0, 0, 0]


@given(st.lists(st.tuples(shares, shares, shares, shares), max_size=5))
def test_boxes_come_back(boxes):
    lines = "\n".join(f"0 {x!r} {y!r} {w!r} {h!r}" for x, y, w, h in boxes)
    for each, (x, y, w, h) in zip(parsed(lines)["annotations"], boxes, strict=True):
        left, top, width, height = each["bbox"]
        assert (left + width / 2, top + height / 2) == pytest.approx((x * 200, y * 100), abs=2e-3)
        assert (width, height) == pytest.approx((w * 200, h * 100), abs=1e-3)


@given(st.lists(st.tuples(shares, shares), min_size=3, max_size=9))
def test_polygons_are_within_the_image(points):
    label = parsed("2 " + " ".join(f"{x!r} {y!r}" for x, y in points))
    assert not list(label_problems(label, 200, 100))
    assert len(label["annotations"][0]["segmentation"][0]) == 2 * len(points)


def test_a_little_outside_is_taken_as_the_border():
    assert parsed("0 -0.0005 0 1.0009 0 1 1")["annotations"][0]["segmentation"] == [[0, 0, 200, 0, 200, 100]]


@pytest.mark.parametrize(
    ("text", "keypoints", "reason"),
    [
        ("0 0.5 0.5 0.2 0.1\n1 0.5 0.5 0.2 0.1", None, r"line 2: class 1 is not among the 2 of the set"),
        ("-1 0.5 0.5 0.2 0.1", None, "line 1: expected the number of a class, got -1"),
        ("0.5 0.5 0.5 0.2 0.1", None, "line 1: expected the number of a class, got 0.5"),
        ("nan 0.5 0.5 0.2 0.1", None, "line 1: expected the number of a class, got nan"),
        ("0 0.5 0.5 0.2", None, r"line 1: expected 5 numbers \(a box\).* got 4"),
        ("0 0.5 0.5 0.2 0.1 0.9", None, "got 6; key points need kpt_shape"),
        ("0", None, "got 1;"),
        ("0 0.5 0.5 0.2 1.01", None, "line 1: 1.01 is outside 0..1"),
        ("0 0.5 nan 0.2 0.1", None, "line 1: nan is outside 0..1"),
        ("0 0.5 inf 0.2 0.1", None, "line 1: inf is outside 0..1"),
        ("0 320 240 50 60", None, "line 1: 320 is outside 0..1"),
        ("0 0.5 0.5 0.2 x", None, "line 1: expected numbers, got '0 0.5 0.5 0.2 x'"),
        ("a picture of a cat", None, "line 1: expected numbers"),
        ("0 0.5 0.5 0.2 0.1", (1, 3), "line 1: expected 8 numbers, as kpt_shape says, got 5"),
        ("0 0.5 0.5 0.2 0.1 0.5 0.5 3", (1, 3), "line 1: a key point has the visibility 3"),
        ("0 0.5 0.5 0.2 0.1 0.5 1.5 2", (1, 3), "line 1: 1.5 is outside 0..1"),
    ],
)
def test_other_lines_are_refused(text, keypoints, reason):
    with pytest.raises(DecodeError, match=reason):
        parsed(text, keypoints=keypoints)


def test_images_that_are_not_upright_are_a_question():
    with pytest.raises(DecodeError, match="EXIF orientation 6, and YOLO does not say"):
        parsed("0 0.5 0.5 0.2 0.1", size=ImageSize(200, 100, 6))


@given(st.binary(max_size=80))
def test_garbage_is_an_error_of_ours(data):
    try:
        label = YoloParser()(data, SIZE)
    except DecodeError:
        return
    assert isinstance(label["annotations"], list)


def test_numbers_without_gaps():
    label = YoloParser(NAMES, {0: 0, 2: 1})(b"2 0.5 0.5 0.2 0.1", SIZE)
    assert [(each["category_id"], each["label"]) for each in label["annotations"]] == [(2, 1)]

"""Labels are built in one shape, follow their image in it, and what is outside the image is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.coordinates import find_coordinates
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.move_label import move_label
from shardpack.codecs.resize import Cutout
from shardpack.sources.label_shape import annotation, box_around, class_names, label, label_problems, numbered

HALF = Geometry(40, 60, Cutout(20, 30, 0, 0, 40, 60))
NUMBERS = st.floats(0, 1, allow_nan=False)


def test_what_is_not_said_is_left_out():
    assert annotation(bbox=[1.0, 2.5, 3.00001, 4]) == {"bbox": [1, 2.5, 3, 4]}
    assert label(None, None, []) == {"annotations": []}
    assert label(4, 3, name="cat", captions=["a"], id=7) == {
        "width": 4,
        "height": 3,
        "class": "cat",
        "captions": ["a"],
        "id": 7,
    }


def test_boxes_are_around_polygons():
    built = annotation(segmentation=[[1, 2, 5, 2, 5, 9], [0, 4, 1, 4, 1, 5]], name="cat", difficult=1)
    assert built == {
        "bbox": [0, 2, 5, 7],
        "class": "cat",
        "segmentation": [[1, 2, 5, 2, 5, 9], [0, 4, 1, 4, 1, 5]],
        "difficult": 1,
    }
    assert box_around([3, 4]) == [3, 4, 0, 0]


def test_key_points_are_counted():
    assert annotation(keypoints=[1, 2, 2, 0, 0, 0, 5, 6, 1])["num_keypoints"] == 2


def test_numbers_stand_in_front_of_names():
    value = label(4, 3, [annotation(bbox=[0, 0, 1, 1], category_id=18, name="dog")], name="cat")
    assert list(class_names(value)) == ["cat", "dog"]
    done = numbered(value, {"cat": 0, "dog": 1})
    assert list(done.items())[2:4] == [("label", 0), ("class", "cat")]
    assert list(done["annotations"][0].items()) == [
        ("bbox", [0, 0, 1, 1]),
        ("category_id", 18),
        ("label", 1),
        ("class", "dog"),
    ]


@given(st.lists(NUMBERS, min_size=6, max_size=12), st.sampled_from([None, 0, 1, 2]))
def test_all_that_is_built_follows_the_image(numbers, seen):
    points = numbers[: len(numbers) // 2 * 2]
    polygon = [value * side for value, side in zip(points, [60, 40] * 6, strict=False)]
    keypoints = None if seen is None else [polygon[0], polygon[1], seen]
    value = label(60, 40, [annotation(segmentation=[polygon], keypoints=keypoints, name="a", pose="Left")])
    assert not list(label_problems(value, 60, 40))
    moved = move_label(value, HALF)
    assert (moved["width"], moved["height"]) == (30, 20)
    assert not list(label_problems(moved, 30, 20))
    for before, after in zip(value["annotations"], moved["annotations"], strict=False):
        assert after["bbox"] == pytest.approx([side / 2 for side in before["bbox"]], abs=2e-3)
        rest = {key: part for key, part in after.items() if key not in ("bbox", "segmentation", "keypoints")}
        assert find_coordinates(rest) is None


RUNS = {"size": [40, 60], "counts": [0, 2400]}


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"bbox": [0, 0, 61, 41]}, None),  # a pixel is tolerated
        ({"bbox": [-1, 0, 3, 3]}, None),
        ({"bbox": []}, None),
        ({"bbox": [10, 0, 52, 3]}, r"bbox \[10, 0, 52, 3\] is outside the image of 60 x 40 pixels"),
        ({"bbox": [0, -2, 3, 3]}, "is outside"),
        ({"bbox": [0, 0, -3, 3]}, r"bbox is \[0, 0, -3, 3\], expected \[x, y, w, h\]"),
        ({"bbox": [0, 0, 3]}, "expected"),
        ({"bbox": [0, 0, 3, float("inf")]}, "expected"),
        ({"bbox": "x" * 99}, r"bbox is 'x{56}\.\.\., expected"),
        ({"segmentation": [[0, 0, 60, 0, 60, 40]]}, None),
        ({"segmentation": [[0, 0, 60, 0, 60, 42]]}, r"segmentation\[0\] is outside the image"),
        ({"segmentation": [[0, 0, 60, 0]]}, r"segmentation\[0\] is \[0, 0, 60, 0\], expected x, y of three points"),
        ({"segmentation": 5}, "neither a list of polygons nor run lengths"),
        ({"segmentation": RUNS}, None),
        ({"segmentation": {**RUNS, "size": [60, 40]}}, r"run lengths are of size \[60, 40\], expected \[40, 60\]"),
        ({"segmentation": {**RUNS, "counts": [1]}}, "they hold 1 pixels, expected 2400"),
        ({"keypoints": [60, 40, 2, 900, 900, 0]}, None),
        ({"keypoints": [62, 40, 1]}, "keypoints are outside the image"),
        ({"keypoints": [60, 40]}, r"keypoints are \[60, 40\], expected x, y and v"),
    ],
)
@pytest.mark.parametrize("name", ["annotations", "segments_info"])
def test_what_is_outside_is_told(name, part, problem):
    found = list(label_problems({"width": 60, "height": 40, name: [{}, part]}, 60, 40))
    if problem is None:
        assert not found
    else:
        assert len(found) == 1
        with pytest.raises(AssertionError, match=rf"{name}\[1\]: .*{problem}"):
            raise AssertionError(found[0])


def test_sizes_are_compared():
    assert list(label_problems({"width": 60, "height": 40}, 40, 60)) == [
        "the label is for 60 x 40 pixels, but the image has 40 x 60"
    ]
    for other in ([], 3, {"label": 3}, {"annotations": 3}, {"annotations": [3]}):
        assert not list(label_problems(other, 40, 60))

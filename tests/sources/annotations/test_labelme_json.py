"""Shapes become annotations, and those that labels have no place for are refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.annotations.labelme_json import LabelMeFile, looks_like_labelme, parse_labelme


def shape(kind, *points, name="dog", **more):
    return {"label": name, "shape_type": kind, "points": list(points), "group_id": None, "flags": {}, **more}


def file_of(*shapes, **more):
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": "..\\images\\a.jpg"}
    return json.dumps({**content, "imageData": None, "imageWidth": 60, "imageHeight": 40, **more}).encode()


def annotations(*shapes):
    return parse_labelme(file_of(*shapes)).label["annotations"]


def test_a_file():
    data = file_of(shape("rectangle", [9, 8], [1, 2]), flags={"blurred": True}, imageData="x" * 1000)
    assert looks_like_labelme(data)
    assert parse_labelme(data) == LabelMeFile(
        "../images/a.jpg",
        {
            "width": 60,
            "height": 40,
            "flags": {"blurred": True},
            "annotations": [{"bbox": [1, 2, 8, 6], "class": "dog"}],
        },
    )


def test_every_kind():
    found = annotations(
        shape("polygon", [1, 2], [5, 2], [5, 6], group_id=3, flags={"hard": True}, description="x"),
        shape("rectangle", [1, 2], [5, 2], [5, 6], [1, 6]),
        shape("circle", [10, 10], [13, 14]),
        shape("point", [4.5, 5], name="nose"),
        shape(None, [1, 2], [5, 2], [5, 6]),
    )
    polygon = {"bbox": [1, 2, 4, 4], "class": "dog", "segmentation": [[1, 2, 5, 2, 5, 6]]}
    assert found == [
        {**polygon, "group_id": 3, "flags": {"hard": True}, "description": "x"},
        {"bbox": [1, 2, 4, 4], "class": "dog"},
        {"bbox": [5, 5, 10, 10], "class": "dog", "shape": "circle"},
        {"class": "nose", "keypoints": [4.5, 5, 2], "num_keypoints": 1},
        polygon,
    ]


def test_old_files_without_sizes():
    data = json.dumps({"shapes": []}).encode()
    assert parse_labelme(data) == LabelMeFile("", {"annotations": []})
    assert not looks_like_labelme(data)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "not JSON"),
        (b"[]", "expected an object with a list of shapes"),
        (b'{"shapes": {}}', "expected an object with a list of shapes"),
        (file_of(imageWidth=0), "imageWidth is 0, expected a number of pixels"),
        (file_of(imageHeight="40"), "imageHeight is '40'"),
        (file_of(5), r"shapes\[0\] has no label"),
        (file_of(shape("polygon", name="")), r"shapes\[0\] has no label"),
        (file_of(shape("polygon")), r"shapes\[0\] has no points"),
        (file_of(shape("polygon", [1, 2], [3, 4])), r"shapes\[0\] is a polygon of 2 points"),
        (file_of(shape("rectangle", [1, 2])), "is a rectangle of 1 points"),
        (file_of(shape("circle", [1, 2])), "is a circle of 1 points"),
        (file_of(shape("point", [1, 2], [1, 2])), "is a point with 2 positions"),
        (file_of(shape("polygon", [1, 2, 3])), r"a point is \[1, 2, 3\], expected \[x, y\]"),
        (file_of(shape("polygon", [1, True])), r"a point is \[1, True\]"),
        (file_of(shape("polygon", [1, 1e300])), r"a point is \[1, 1e\+300\]"),
        (file_of(shape("linestrip", [1, 2], [3, 4])), r"shapes\[0\] is a 'linestrip', which labels have no place for"),
        (file_of(shape("mask", [1, 2], [3, 4])), r"shapes\[0\] is a 'mask'"),
    ],
)
def test_other_files_are_refused(data, reason):
    with pytest.raises(DecodeError, match=reason):
        parse_labelme(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "points"]), inner),
    max_leaves=6,
)


@given(st.lists(json_values, max_size=3), json_values)
def test_any_json_is_an_error_of_ours_or_a_label(shapes, side):
    try:
        data = json.dumps({"shapes": shapes, "imageWidth": side, "imagePath": side}, allow_nan=False).encode()
    except ValueError:
        return
    try:
        assert isinstance(parse_labelme(data).label, dict)
    except DecodeError:
        return

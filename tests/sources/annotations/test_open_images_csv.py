"""Rows become boxes in pixels; malformed ones are told by line, and rows of other images take no memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.annotations.open_images_csv import OpenImagesBoxes, parse_class_descriptions

HEADER = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n"
SIZE = ImageSize(200, 100)


def read(text, wanted=lambda _: True):
    boxes = OpenImagesBoxes()
    data = text if isinstance(text, bytes) else text.encode()
    return boxes, list(boxes.add(data, wanted))


shares = st.floats(0, 1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), shares, shares, shares, shares), max_size=9))
def test_boxes_come_back(rows):
    lines = [
        (image, name, *sorted((left, right)), *sorted((top, bottom))) for image, name, left, right, top, bottom in rows
    ]
    text = HEADER + "".join(",".join([*map(str, line), "0"]) + "\n" for line in lines)
    boxes, problems = read(text)
    assert not problems
    for image in "ab":
        found = boxes.annotations(image, SIZE, {"x": "the x"})
        expected = [line[1:] for line in lines if line[0] == image]
        assert [each["category_id"] for each in found] == [line[0] for line in expected]
        assert all(each["class"] == {"x": "the x"}.get(each["category_id"], each["category_id"]) for each in found)
        for each, (_, left, right, top, bottom) in zip(found, expected, strict=True):
            box = [left * 200, top * 100, (right - left) * 200, (bottom - top) * 100]
            assert each["bbox"] == pytest.approx(box, abs=1e-3)


def test_other_images_are_passed_over():
    boxes, problems = read(HEADER + "a,x,0,1,0,1,0\nb,x,bad,1,0,1,0\n", {"a"}.__contains__)
    assert list(boxes.of_image) == ["a"]
    assert not problems


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a,x,0,1,0,1", "expected 7 cells, got 6"),
        ("a,x,z,1,0,1,0", "could not convert string to float: 'z'"),
        ("a,x,0,1,0,1,z", "invalid literal"),
        ("a,x,nan,1,0,1,0", "outside 0..1"),
        ("a,x,0.5,0.4,0,1,0", "ends before it begins"),
        ("a,x,0,1,0,1,7", r"flags \[7, -1, -1, -1, -1\]"),
    ],
)
def test_malformed_lines_are_told(line, reason):
    boxes, ((number, _, said),) = read(HEADER + "a,x,0,1,0,1,0\n" + line)
    assert number == 3
    assert len(boxes.of_image["a"]) == 41
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(said)


@pytest.mark.parametrize(("data", "reason"), [(b"", "no column 'ImageID'"), (b"\xff", "not CSV in UTF-8")])
def test_other_tables_are_refused(data, reason):
    with pytest.raises(DecodeError, match=reason):
        read(data)


def test_class_descriptions():
    assert parse_class_descriptions(b'LabelName,DisplayName\n/m/1,"a, b"\n/m/0,c\n') == {"/m/1": "a, b", "/m/0": "c"}
    assert parse_class_descriptions(b"/m/1,a\n") == {"/m/1": "a"}
    with pytest.raises(DecodeError, match="not CSV"):
        parse_class_descriptions(b"\xff")

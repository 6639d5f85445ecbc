"""Boxes that count from 1 become boxes in pixels; what lacks a name or a box is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError
from shardpack.sources.annotations.voc_xml import parse_voc

SIZE = "<size><width>500</width><height>375</height><depth>3</depth></size>"


def box_of(left, top, right, bottom):
    return f"<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox>"


def parsed(*objects, size=SIZE):
    return parse_voc(f"<annotation><folder>x</folder>{size}{''.join(objects)}</annotation>".encode())


def one(*inner):
    return f"<object><name>dog</name>{''.join(inner)}</object>"


def test_an_object():
    flags = "<pose>Left</pose><truncated>0</truncated><difficult>1</difficult>"
    part = f"<part><name>head</name>{box_of(1, 1, 2, 2)}</part>"
    assert parsed(one(flags, box_of(9, 1, 20, 30), part)) == {
        "width": 500,
        "height": 375,
        "annotations": [{"bbox": [8, 0, 12, 30], "class": "dog", "truncated": 0, "difficult": 1, "pose": "Left"}],
    }


@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 90), st.integers(0, 70))
def test_boxes_cover_their_pixels(left, top, right, bottom):
    (found,) = parsed(one(box_of(left, top, left + right, top + bottom)))["annotations"]
    assert found["bbox"] == [left - 1, top - 1, right + 1, bottom + 1]


def test_boxes_from_0_and_in_parts_of_pixels():
    (found,) = parsed(one(box_of(0, 1.5, 20, " 30.25 ")))["annotations"]
    assert found["bbox"] == [0, 0.5, 20, 29.75]


def test_polygons():
    points = "".join(
        f"<{axis}{i}>{value}</{axis}{i}>"
        for i, pair in enumerate(["12", "52", "56"], 1)
        for axis, value in zip("xy", pair, strict=True)
    )
    (found,) = parsed(one(f"<polygon>{points}</polygon>"))["annotations"]
    assert found == {"bbox": [1, 2, 4, 4], "class": "dog", "segmentation": [[1, 2, 5, 2, 5, 6]]}


def test_sizes_that_say_nothing():
    for size in ("", "<size><width>0</width><height>0</height></size>"):
        assert parsed(size=size) == {"annotations": []}


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ([f"<object>{box_of(1, 1, 2, 2)}</object>"], r"object\[0\] has no name"),
        ([one(box_of(1, 1, 2, 2)), one()], r"object\[1\] has no bndbox"),
        ([one(box_of(9, 1, 8, 30))], r"object\[0\]: bndbox 9, 1, 8, 30 is empty or outside"),
        ([one(box_of(-1, 1, 8, 30))], r"object\[0\]: bndbox -1, 1, 8, 30 is empty or outside"),
        ([one(box_of("x", 1, 8, 30))], r"object\[0\]: bndbox has xmin 'x', expected a number"),
        ([one(box_of("1e999", 1, 8, 30))], r"bndbox has xmin '1e999'"),
        ([one(box_of("nan", 1, 8, 30))], r"bndbox has xmin 'nan'"),
        ([one("<bndbox><xmin>1</xmin></bndbox>")], r"bndbox has ymin '', expected a number"),
        ([one("<difficult>yes</difficult>", box_of(1, 1, 2, 2))], r"object\[0\]: difficult is 'yes', expected 0 or 1"),
        ([one("<polygon><x1>1</x1><y1>1</y1></polygon>")], r"polygon has 1 points"),
    ],
)
def test_other_objects_are_refused(label, reason):
    with pytest.raises(DecodeError, match=reason):
        parsed(*label)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "not XML"),
        (b"<svg/>", "expected an element <annotation>"),
        (b"<annotation><size><width>x</width></size></annotation>", "size: width is 'x', expected a number"),
    ],
)
def test_other_files_are_refused(data, reason):
    with pytest.raises(DecodeError, match=reason):
        parse_voc(data)

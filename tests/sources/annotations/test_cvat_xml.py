"""Shapes of CVAT become annotations; an image with another shape is refused alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.run_lengths import decode_runs
from shardpack.errors import DecodeError
from shardpack.sources.annotations.cvat_xml import CvatClasses, looks_like_cvat, parse_cvat

META = "<meta><task><labels><label><name>dog</name></label><label><name>cat</name></label></labels></task></meta>"
BOX = '<box label="dog" occluded="1" xtl="1" ytl="2.50" xbr="5" ybr="6" z_order="-1"/>'


def file_of(*images, meta=META):
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{meta}{"".join(images)}</annotations>'.encode()


def image(*shapes, name="a.jpg", more='subset="train" width="60" height="40"'):
    return f'<image id="0" name="{name}" {more}>{"".join(shapes)}</image>'


def annotations(*shapes):
    (found,) = parse_cvat(file_of(image(*shapes), meta=""))
    assert not found.problem
    return found.label["annotations"]


def test_a_file():
    data = file_of(image(BOX), image(name="b/c.png", more='width="1" height="2"'))
    assert looks_like_cvat(data[:200])
    classes, first, second = parse_cvat(data)
    assert classes == CvatClasses(("dog", "cat"))
    assert (first.name, first.subset) == ("a.jpg", "train")
    assert first.label == {
        "width": 60,
        "height": 40,
        "annotations": [{"bbox": [1, 2.5, 4, 3.5], "class": "dog", "occluded": 1, "z_order": -1}],
    }
    assert (second.name, second.subset) == ("b/c.png", None)
    assert second.label == {"width": 1, "height": 2, "annotations": []}


def test_every_kind():
    attribute = '<attribute name="colour">red</attribute>'
    found = annotations(
        f'<polygon label="dog" points="1,2;5,2;5,6">{attribute}</polygon>',
        '<points label="cat" points="1,2;5.5,6"/>',
        '<ellipse label="cat" cx="10" cy="10" rx="5" ry="2"/>',
        '<box label="dog" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"/>',
    )
    assert found == [
        {"bbox": [1, 2, 4, 4], "class": "dog", "segmentation": [[1, 2, 5, 2, 5, 6]], "attributes": {"colour": "red"}},
        {"class": "cat", "keypoints": [1, 2, 2, 5.5, 6, 2], "num_keypoints": 2},
        {"bbox": [5, 8, 10, 4], "class": "cat", "shape": "ellipse"},
        {"bbox": [15, 5, 10, 20], "class": "dog", "segmentation": [[25, 5, 25, 25, 15, 25, 15, 5]]},
    ]


def test_tags():
    (one,) = parse_cvat(file_of(image('<tag label="day"/>'), meta=""))
    assert one.label["class"] == "day"
    (two,) = parse_cvat(file_of(image('<tag label="day"/><tag label="wet"/>'), meta=""))
    assert two.label["tags"] == ["day", "wet"]
    assert "class" not in two.label


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.integers(0, 20), st.data())
def test_masks_cover_the_same_pixels(across, down, left, top, data):
    inner = np.array(data.draw(st.lists(st.booleans(), min_size=across * down, max_size=across * down)))
    runs, value = [0], False
    for pixel in inner.tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    rle = ", ".join(map(str, runs))
    shape = f'<mask label="a" rle="{rle}" left="{left}" top="{top}" width="{across}" height="{down}"/>'
    (found,) = annotations(shape)
    expected = np.zeros((40, 60), bool)
    expected[top : top + down, left : left + across] = inner.reshape(down, across)
    np.testing.assert_array_equal(decode_runs(found["segmentation"], 40, 60), expected)
    assert found["bbox"] == [left, top, across, down]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (image(BOX.replace('label="dog" ', "")), "a box has no label"),
        (image(BOX.replace('xtl="1"', "")), "a box has no xtl"),
        (image(BOX.replace('xtl="1"', 'xtl="x"')), "a box has 'x' where a number was expected"),
        (image(BOX.replace('xtl="1"', 'xtl="nan"')), "a box has 'nan'"),
        (image(BOX.replace('xtl="1"', 'xtl="9"')), "a box goes from 9, 2.5 to 5, 6"),
        (image('<polygon label="a" points="1,2;3,4"/>'), "a polygon has 2 points"),
        (image('<polygon label="a" points="1,2;3"/>'), "a polygon has the points '1,2;3', expected x,y;x,y"),
        (image('<points label="a"/>'), "a points has the points '', expected"),
        (image('<polyline label="a" points="1,2;3,4"/>'), "a polyline has no place in labels"),
        (image('<skeleton label="a"/>'), "a skeleton has no place"),
        (image('<ellipse label="a" cx="1" cy="1" rx="1" ry="2" rotation="5"/>'), "a turned ellipse has no place"),
        (image('<mask label="a" rle="6" left="58" top="0" width="3" height="2"/>'), "is outside the image"),
        (image('<mask label="a" rle="5" left="0" top="0" width="3" height="2"/>'), "hold 5 pixels, expected 6"),
        (image('<mask label="a" rle="x" left="0" top="0" width="3" height="2"/>'), "are not numbers"),
        (image('<mask label="a" rle="6" left="0" top="0" width="1.5" height="2"/>'), "width 1.5, expected a whole"),
        (image(name=""), "image 0 has no name"),
        (image(more='width="60"'), "an image has no height"),
        (
            image(
                '<mask label="a" rle="1" left="0" top="0" width="1" height="1"/>', more='width="99999" height="9999"'
            ),
            "a mask in an image of 99999 x 9999 pixels",
        ),
    ],
)
def test_other_images_are_refused_alone(found, reason):
    bad, good = parse_cvat(file_of(found, image(BOX), meta=""))
    assert reason in bad.problem
    assert good.label["annotations"]


def test_videos_are_refused():
    with pytest.raises(DecodeError, match="those of a video"):
        list(parse_cvat(file_of('<track id="0" label="dog"/>')))


def test_every_cut_is_an_error_of_ours():
    data = file_of(image(BOX))
    for stop in range(len(data)):
        with pytest.raises(DecodeError):
            list(parse_cvat(data[:stop]))

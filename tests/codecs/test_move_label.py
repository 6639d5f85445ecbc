"""Labels follow their image: judged by masks drawn from them, moved as pixels."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shardpack.codecs.geometry import Geometry
from shardpack.codecs.move_label import find_measures, move_label, size_of
from shardpack.codecs.resize import Cutout
from shardpack.codecs.run_lengths import decode_runs, encode_runs
from shardpack.errors import DecodeError, OptionError
from tests.codecs.geometries import geometries
from tests.strategies import examples

HALF = Geometry(40, 60, Cutout(20, 30, 0, 0, 40, 60))
MIDDLE = Geometry(40, 60, Cutout(20, 20, 0, 10, 40, 40))  # cover=20x20
QUARTER_TURN = Geometry(40, 60, Cutout(60, 40, 0, 0, 60, 40), 6)


def label_of(*annotations, height=40, width=60, **more):
    return {"width": width, "height": height, **more, "annotations": list(annotations)}


@st.composite
def boxes(draw, geometry):
    left = draw(st.integers(0, geometry.width - 1))
    top = draw(st.integers(0, geometry.height - 1))
    return [left, top, draw(st.integers(1, geometry.width - left)), draw(st.integers(1, geometry.height - top))]


def polygon_of(box):
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def mask_of(box, height, width):
    mask = np.zeros((height, width), bool)
    mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
    return mask


@examples(300)
@given(st.data(), geometries())
def test_boxes_polygons_and_masks_agree(data, geometry):
    assume(not geometry.is_unchanged)
    box = data.draw(boxes(geometry))
    mask = mask_of(box, geometry.height, geometry.width)
    size = {"height": geometry.height, "width": geometry.width}
    moved = move_label(
        label_of({"bbox": box, "segmentation": [polygon_of(box)], "area": box[2] * box[3]}, **size), geometry
    )
    expected = geometry.move_mask(mask)
    assert (moved["height"], moved["width"]) == expected.shape
    if not moved["annotations"]:
        assert not expected.any()  # wholly cut off
        return
    (annotation,) = moved["annotations"]
    x, y, width, height = annotation["bbox"]
    assert x >= 0
    assert y >= 0
    assert x + width <= expected.shape[1] + 0.002
    assert y + height <= expected.shape[0] + 0.002
    # The pixels of the moved mask are those whose centres are in the moved box.
    rows, columns = np.indices(expected.shape)
    inside = (columns + 0.5 > x - 0.01) & (columns + 0.5 < x + width + 0.01)
    inside &= (rows + 0.5 > y - 0.01) & (rows + 0.5 < y + height + 0.01)
    assert (inside | ~expected).all()
    surely = (columns + 0.5 > x + 0.01) & (columns + 0.5 < x + width - 0.01)
    surely &= (rows + 0.5 > y + 0.01) & (rows + 0.5 < y + height - 0.01)
    assert (expected | ~surely).all()
    assert annotation["area"] == pytest.approx(width * height, rel=0.01, abs=0.2 * (1 + width + height))
    for points in annotation["segmentation"]:
        xs, ys = points[0::2], points[1::2]
        assert min(xs) == pytest.approx(x, abs=0.002)
        assert max(xs) == pytest.approx(x + width, abs=0.002)
        assert min(ys) == pytest.approx(y, abs=0.002)
        assert max(ys) == pytest.approx(y + height, abs=0.002)


@examples(100)
@given(st.data(), geometries(), st.booleans())
def test_run_lengths_are_resampled_as_masks_are(data, geometry, as_text):
    assume(not geometry.is_unchanged)
    mask = mask_of(data.draw(boxes(geometry)), geometry.height, geometry.width)
    label = {"annotations": [{"segmentation": encode_runs(mask, as_text=as_text), "area": 1, "iscrowd": 1}]}
    moved = move_label(label, geometry)["annotations"]
    expected = geometry.move_mask(mask)
    if not moved:
        assert not expected.any()
        return
    assert isinstance(moved[0]["segmentation"]["counts"], str) == as_text
    np.testing.assert_array_equal(decode_runs(moved[0]["segmentation"], *expected.shape), expected)
    assert moved[0]["area"] == expected.sum()


@examples(200)
@given(st.data(), geometries())
def test_keypoints_follow_and_those_outside_are_unlabelled(data, geometry):
    assume(not geometry.is_unchanged)
    x, y = data.draw(st.integers(0, geometry.width)), data.draw(st.integers(0, geometry.height))
    label = {"annotations": [{"keypoints": [x, y, 2, 0, 0, 0], "num_keypoints": 1}]}
    ((annotation),) = move_label(label, geometry)["annotations"]
    ((new_x, new_y),) = geometry.move_points(np.array([[x, y]], float)).tolist()
    inside = 0 <= new_x <= geometry.target.width and 0 <= new_y <= geometry.target.height
    assert annotation["num_keypoints"] == inside
    assert annotation["keypoints"] == [*((round(new_x, 3), round(new_y, 3), 2) if inside else (0, 0, 0)), 0, 0, 0]


@given(st.data(), geometries())
def test_a_label_that_moves_twice_by_a_turn_comes_back(data, geometry):
    inverse = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
    turn = Geometry(
        40, 60, Cutout.unchanged(*((60, 40) if geometry.orientation > 4 else (40, 60))), geometry.orientation
    )
    back = Geometry(turn.target.height, turn.target.width, Cutout.unchanged(40, 60), inverse[turn.orientation])
    box = data.draw(boxes(turn))
    label = label_of({"bbox": box, "segmentation": [polygon_of(box)], "keypoints": [*box[:2], 1], "area": 5})
    assert move_label(move_label(label, turn), back) == label


def test_what_a_label_says_besides_is_kept():
    annotation = {"id": 3, "category_id": 7, "label": 1, "class": "cat", "bbox": [10, 20, 20, 10], "iscrowd": 0}
    label = label_of({**annotation, "area": 150.0, "attributes": {"truncated": True}}, id=9, captions=["a cat"])
    original = copy.deepcopy(label)
    assert move_label(label, HALF) == {
        "width": 30,
        "height": 20,
        "id": 9,
        "captions": ["a cat"],
        "annotations": [{**annotation, "area": 37.5, "attributes": {"truncated": True}, "bbox": [5, 10, 10, 5]}],
    }
    assert label == original


def test_what_is_cut_off_is_dropped():
    inside, outside, cut = [25, 0, 10, 40], [0, 0, 10, 40], [0, 0, 20, 40]
    moved = move_label(label_of({"bbox": inside}, {"bbox": outside}, {"bbox": cut, "area": 800}), MIDDLE)
    assert [annotation["bbox"] for annotation in moved["annotations"]] == [[7.5, 0, 5, 20], [0, 0, 5, 20]]
    assert moved["annotations"][1]["area"] == 100


def test_a_point_like_box_is_kept():
    moved = move_label(label_of({"bbox": [30, 20, 0, 0], "area": 0}), HALF)
    assert moved["annotations"] == [{"bbox": [15, 10, 0, 0], "area": 0}]


def test_a_box_without_segmentation_may_have_an_empty_one():
    moved = move_label(label_of({"bbox": [0, 0, 10, 10], "segmentation": [], "keypoints": []}), QUARTER_TURN)
    assert moved["annotations"] == [{"bbox": [30, 0, 10, 10], "segmentation": [], "keypoints": []}]


@pytest.mark.parametrize(
    "label", [3, None, "a cat", [1, 2], {"label": 3}, {"width": 3, "height": 40}, {"annotations": 3}]
)
def test_labels_without_coordinates_stay(label):
    assert move_label(label, HALF) == label


def test_the_size_of_an_image_without_annotations_follows():
    assert move_label({"width": 60, "height": 40, "text": "x"}, HALF) == {"width": 30, "height": 20, "text": "x"}
    assert move_label({"width": 60.5, "height": 40}, HALF) == {"width": 60.5, "height": 40}  # of something else


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ({"bbox": [1, 2, 3, 4]}, "bbox"),
        (label_of({"bbox": [1, 2, 3, 4], "head_box": [1, 2, 3, 4]}), r"annotations\[0\]\.head_box"),
        (label_of({"bbox": [1, 2, 3, 4]}, landmarks=[[1, 2]]), "landmarks"),
        ([{"bbox": [1, 2, 3, 4]}], r"\[0\]\.bbox"),
        ({"annotations": [[1, 2]], "box": [1, 2, 3, 4]}, "box"),
    ],
)
def test_coordinates_in_another_shape_are_a_question(label, where):
    with pytest.raises(OptionError, match=rf"coordinates at {where}, in a shape .* \(--labels keep\)"):
        move_label(label, HALF)
    assert move_label(label, Geometry.unchanged(40, 60)) is label


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"bbox": [1, 2, 3]}, "bbox is"),
        ({"bbox": [1, 2, -3, 4]}, "bbox is"),
        ({"bbox": [1, 2, "3", 4]}, "bbox is"),
        ({"bbox": {"x": 1}}, "bbox is"),
        ({"bbox": [0, 0, 10**400, 1]}, "bbox is"),
        ({"keypoints": [float("inf"), 1, 2]}, "keypoints are not"),
        ({"segmentation": [[1, 2, 3, 4]]}, "segmentation is neither"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "segmentation is neither"),
        ({"segmentation": "61"}, "segmentation is neither"),
        ({"segmentation": {"size": [4, 4], "counts": [16]}}, "run lengths are of size"),
        ({"keypoints": [1, 2]}, "keypoints are not"),
        ({"bbox": [1, 2, 3, 4], "area": "big"}, "area is 'big'"),
    ],
)
def test_damaged_annotations_are_named(annotation, reason):
    with pytest.raises(DecodeError, match=rf"annotations\[1\]: {reason}"):
        move_label(label_of({"bbox": [0, 0, 1, 1]}, annotation), HALF)


def test_labels_for_another_image_are_refused():
    with pytest.raises(
        DecodeError, match="for an image of width 40 and height 60, but the image is stored with width 60"
    ):
        move_label(label_of({"bbox": [1, 2, 3, 4]}, height=60, width=40), HALF)
    with pytest.raises(DecodeError, match="and EXIF orientation 6"):
        move_label(label_of({"bbox": [1, 2, 3, 4]}, height=60, width=40), QUARTER_TURN)


@examples(100)
@given(st.data(), geometries())
def test_moved_labels_are_json(data, geometry):
    box = data.draw(boxes(geometry))
    label = {"annotations": [{"bbox": box, "segmentation": [polygon_of(box)], "keypoints": [1, 1, 2], "area": 3}]}
    assert json.loads(json.dumps(move_label(label, geometry), allow_nan=False)) is not None


def test_an_area_without_a_shape_is_scaled():
    moved = move_label(label_of({"area": 400}, {"area": 0}), HALF)
    assert [annotation["area"] for annotation in moved["annotations"]] == [100, 0]


def test_sizes_of_another_type_are_shown_as_they_are():
    with pytest.raises(DecodeError, match="width '60'"):
        move_label({"width": "60", "annotations": [{"bbox": [1, 2, 3, 4]}]}, HALF)


def test_segments_of_a_panoptic_image_follow():
    segments = [{"id": 7, "category_id": 1, "bbox": [0, 0, 60, 20], "area": 900, "iscrowd": 0}]
    label = {"width": 60, "height": 40, "segments_info": [*segments, {"id": 8, "bbox": [0, 0, 5, 5], "area": 20}]}
    moved = move_label(label, MIDDLE)
    assert moved["segments_info"] == [{**segments[0], "bbox": [0, 0, 20, 10], "area": 150}]
    both = move_label({**label, "annotations": [{"bbox": [0, 0, 60, 40]}]}, HALF)
    assert both["annotations"] == [{"bbox": [0, 0, 30, 20]}]
    assert both["segments_info"][0]["bbox"] == [0, 0, 30, 10]
    with pytest.raises(DecodeError, match=r"segments_info\[0\]: bbox is \[1\]"):
        move_label({"segments_info": [{"bbox": [1]}]}, HALF)
    with pytest.raises(OptionError, match=r"coordinates at segments_info\[0\]\.box,"):
        move_label({"segments_info": [{"box": [1, 2, 3, 4]}]}, HALF)


def test_what_depends_on_the_size_of_an_image_is_found():
    assert find_measures(label_of({"bbox": [1, 2, 3, 4]}), side=60) == "annotations[0].bbox"
    assert find_measures(label_of({"label": 3}, {"area": 4}), side=60) == "annotations[1].area"
    assert find_measures({"segments_info": [{"area": 4}]}, side=60) == "segments_info[0].area"
    assert find_measures({"xmin": 3}, side=60) == "xmin"
    for label in (
        label_of(),
        label_of({"label": 3, "bbox": [], "area": 0}),
        {"annotations": [5]},
        [1, 2],
        "text",
        None,
    ):
        assert find_measures(label, side=60) is None


def test_labels_say_the_size_of_their_image():
    assert size_of(label_of()) == (40, 60)
    assert [size_of(label) for label in ({"width": 5}, {}, [1], None)] == [(None, 5), *[(None, None)] * 3]

"""Labels follow the crop and the mirroring of their image, or are refused: none is wrong without notice."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from shardpack.codecs.arrays import encode_npy, encode_npz
from shardpack.codecs.crop import CenterCrop, Frame
from shardpack.codecs.framed_labels import follow_frame
from shardpack.errors import DecodeError, OptionError


def frame(flip=0.0, *, seen=True):
    one = Frame(CenterCrop(10), (10, 10), flip, 0, 1)
    if seen:
        one.box(20, 40)  # the middle 20 x 20, at half size
    return one


def followed(field, value, *, payload=None, **how):
    payload = json.dumps(value).encode() if payload is None else payload
    return follow_frame(field, value, payload, frame(**how))


def test_boxes_follow():
    label = {"width": 40, "height": 20, "annotations": [{"bbox": [12, 4, 6, 8], "label": 3}]}
    found = followed("json", label)
    assert found["annotations"] == [{"bbox": [1, 2, 3, 4], "label": 3}]
    assert (found["width"], found["height"]) == (10, 10)
    mirrored = followed("json", label, flip=1.0)
    assert mirrored["annotations"] == [{"bbox": [10 - 1 - 3, 2, 3, 4], "label": 3}]


def test_labels_without_coordinates_stay():
    for label in ({"label": 3, "captions": ["a"]}, [1, 2], 5, "text", None, {"annotations": []}):
        assert followed("json", label, flip=1.0) == label
    assert followed("txt", "a caption", payload=b"a caption") == "a caption"
    assert followed("cls", 3, payload=b"3") == 3


def test_without_an_image_nothing_moves():
    assert followed("json", {"bbox": [1, 2, 3, 4]}, seen=False) == {"bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(("field", "value"), [
    ("json", {"objects": [{"box": [1, 2, 3, 4]}]}),
    ("json", {"boxes": [[1, 2, 3, 4]]}),
    ("boxes.json", [[1, 2, 3, 4]]),
    ("msgpack", {"xmin": 3}),
    ("json.zst", {"bbox": [1, 2, 3, 4]}),
])  # fmt: skip
def test_other_shapes_are_refused(field, value):
    with pytest.raises(
        OptionError, match=rf"field '{field}' holds coordinates .*, which crop, flip and size cannot move; "
    ):
        followed(field, value)


def test_numbers_that_may_be_a_box_are_refused_and_the_error_says_how_to_go_on():
    expected = (
        "field 'json' holds coordinates (hats: four numbers that may be a box), which crop, flip and size cannot move; "
        "leave the field as bytes with decode={..., 'json': None}, or decoded as it is stored with "
        "decode={..., 'json': json.loads}, or change images and labels together in a transform"
    )
    with pytest.raises(OptionError, match=re.escape(expected)):
        followed("json", {"hats": [3, 7, 12, 15]})
    for label in ({"attributes": [0, 1, 0, 1]}, {"hats": [0, 1, 0, 1]}, {"hats": [1] * 4}, {"tags": [3, 7, 12, 15]}):
        assert followed("json", label, flip=1.0) == label


def test_keypoints_are_refused_when_left_and_right_may_change_places():
    label = {"annotations": [{"bbox": [12, 4, 6, 8], "keypoints": [14, 6, 2]}]}
    assert followed("json", label)["annotations"][0]["keypoints"] == [2, 3, 2]
    one = Frame(CenterCrop(10), (10, 10), 0.5, 0, 1)
    one.box(20, 40)
    with pytest.raises(OptionError, match="left and right would change places"):
        follow_frame("json", label, b"", one)


def test_labels_are_refused_even_if_this_sample_happens_to_stay():
    one = Frame(None, None, 0.5, 0, 1)
    one.mirrored = False
    one.box(20, 40)
    with pytest.raises(OptionError, match="field 'json' holds coordinates"):
        follow_frame("json", {"box": [1, 2, 3, 4]}, b"", one)
    label = {"width": 40, "height": 20, "annotations": [{"bbox": [12, 4, 6, 8], "label": 3}]}
    assert follow_frame("json", label, b"", one) is label


def test_an_image_that_keeps_its_size_keeps_its_labels():
    one = Frame(None, (20, 40), 0.0, 0, 1)
    one.box(20, 40)
    assert follow_frame("json", {"box": [1, 2, 3, 4]}, b"", one) == {"box": [1, 2, 3, 4]}


def test_relative_coordinates_stay_right_when_all_of_an_image_is_resized():
    one = Frame(None, (5, 5), 0.0, 0, 1)
    one.box(20, 40)
    assert follow_frame("txt", "0 0.5 0.5 0.1 0.1", b"0 0.5 0.5 0.1 0.1\n", one) == "0 0.5 0.5 0.1 0.1"
    with pytest.raises(OptionError, match="each pixel"):
        follow_frame("npy", np.zeros((20, 40)), b"", one)


def two_sizes(size=(10, 10), crop=None, flip=0.0):
    """Return the frame of a sample whose mask is half as large as its image, and comes first."""
    one = Frame(crop, size, flip, 0, 1)
    for field, height, width in (("mask.png", 20, 40), ("png", 40, 80)):
        one.of(field).box(height, width)
    return one


def test_a_label_follows_the_image_whose_size_it_gives():
    label = {"annotations": [{"bbox": [24, 8, 12, 16]}]}
    for given in ({"width": 80, "height": 40}, {"width": 80}, {"height": 40}):
        moved = follow_frame("json", {**label, **given}, b"", two_sizes(crop=CenterCrop(10)))
        assert moved["annotations"] == [{"bbox": [1, 2, 3, 4]}], given
    small = {"width": 40, "height": 20, **label}
    assert follow_frame("json", small, b"", two_sizes())["annotations"] == [{"bbox": [6, 4, 3, 6]}], "cut at 20"
    large = {"width": 80, "height": 40, **label}
    assert follow_frame("json", large, b"", two_sizes(size=(20, 40)))["annotations"] == [{"bbox": [12, 4, 6, 8]}]
    assert follow_frame("json", small, b"", two_sizes(size=(20, 40))) is small, "its image keeps its size"
    with pytest.raises(DecodeError, match=r"'mask\.png' \(width 40, height 20\), 'png' \(width 80, height 40\); corr"):
        follow_frame("json", {**label, "width": 7}, b"", two_sizes())


@pytest.mark.parametrize(
    "how", [{"crop": CenterCrop(10)}, {"size": None, "flip": 0.5}, {}, {"size": (20, 40)}], ids=str
)
@pytest.mark.parametrize(("field", "label", "where"), [
    ("json", {"annotations": [{"bbox": [1, 2, 3, 4]}]}, "annotations[0].bbox"),
    ("json", {"annotations": [{"label": 3}, {"area": 9}]}, "annotations[1].area"),
    ("msgpack", {"objects": [{"box": [1, 2, 3, 4]}]}, "objects[0].box"),
    ("json", {"hats": [50, 2, 60, 4]}, "hats"),
    ("boxes.json", [[1, 2, 3, 4]], "all of it"),
])  # fmt: skip
def test_labels_that_could_be_for_several_images_are_refused(how, field, label, where):
    with pytest.raises(OptionError) as raised:
        follow_frame(field, label, b"", two_sizes(**how))
    assert str(raised.value) == (
        f"field {field!r} holds coordinates ({where}) and no width and height that only one image of its sample has: "
        "'mask.png' (width 40, height 20), 'png' (width 80, height 40); decode only the image that it is for, with "
        f"decode={{...}} or fields=[...], or leave the field as bytes with decode={{..., {field!r}: None}}"
    )


def test_labels_without_boxes_do_not_mind_several_sizes():
    for label in ({"label": 3}, {"annotations": [{"label": 3}]}, [1, 2], "text", {"width": 7, "height": 7}):
        assert follow_frame("json", label, b"", two_sizes(crop=CenterCrop(10))) == label
    assert follow_frame("txt", "", b"0 0.5 0.5 0.1 0.1", two_sizes()) == "", "relative to any of them"


def test_arrays_as_large_as_any_resized_image_are_refused():
    for shape in ((20, 40), (40, 80)):
        with pytest.raises(OptionError, match="each pixel"):
            follow_frame("npy", np.zeros(shape), b"", two_sizes())
    follow_frame("npy", np.zeros((20, 40)), b"", two_sizes(size=(20, 40)))  # its image keeps its size
    with pytest.raises(OptionError, match="each pixel"):
        follow_frame("npy", np.zeros((40, 80)), b"", two_sizes(size=(20, 40)))


def test_images_that_differ_in_their_turn_alone_are_several():
    one = Frame(None, (10, 10), 0.0, 0, 1)
    for field, orientation in (("jpg", 3), ("mask.png", 1)):
        one.of(field).box(20, 40, orientation)
    label = {"width": 40, "height": 20, "annotations": [{"bbox": [1, 2, 3, 4]}]}
    with pytest.raises(OptionError, match=r"'jpg' \(width 40, height 20, turned by EXIF\), 'mask.png' \(width 40, "):
        follow_frame("json", label, b"", one)


def test_labels_of_another_image_are_bad_samples():
    with pytest.raises(DecodeError, match="label is for an image of"):
        followed("json", {"width": 5, "height": 5, "annotations": [{"bbox": [1, 2, 3, 4]}]})


def test_text_in_the_form_of_yolo_is_refused():
    with pytest.raises(OptionError, match="its lines"):
        followed("txt", "0 0.5 0.5 0.1 0.1", payload=b"0 0.5 0.5 0.1 0.1\n")


def test_arrays_for_each_pixel_or_named_for_coordinates_are_refused():
    for shape in ((20, 40), (20, 40, 3)):
        array = np.zeros(shape)
        with pytest.raises(OptionError, match="each pixel"):
            followed("npy", array, payload=encode_npy(array))
    assert followed("npy", np.zeros(7), payload=b"").shape == (7,)
    with pytest.raises(OptionError, match="all of it"):
        followed("boxes.npy", np.zeros((3, 4)), payload=b"")
    for arrays in ({"boxes": np.zeros((3, 4))}, {"depth": np.zeros((20, 40))}):
        with pytest.raises(OptionError, match=next(iter(arrays))):
            followed("npz", arrays, payload=encode_npz(arrays))
    vector = {"vector": np.zeros(9)}
    assert followed("npz", vector, payload=encode_npz(vector)) is vector


@pytest.mark.parametrize(("array", "where"), [(np.zeros((20, 40)), "each pixel"), (np.full((3, 4), 9.0), "each row")])
def test_an_array_says_what_of_it_cannot_move(array, where):
    with pytest.raises(OptionError, match=rf"holds coordinates \({where}\)"):
        followed("some.npy", array, payload=b"")

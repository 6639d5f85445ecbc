"""Crops stay inside the image and within their bounds, and all images of a sample are cut alike."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.crop import Box, CenterCrop, Frame, RandomResizedCrop, as_crop, as_probability, power_below
from shardpack.errors import DecodeError, OptionError

SIDES, KEYS = st.integers(1, 3000), st.integers(0, 2**64 - 1)


def is_inside(box, height, width):
    begins, ends = min(box.top, box.left) >= 0, (box.top + box.height, box.left + box.width)
    return begins and min(box.height, box.width) >= 1 and ends[0] <= height and ends[1] <= width


@given(SIDES, SIDES, KEYS)
def test_random_crops_are_inside_the_image_and_within_their_bounds(height, width, key):
    crop = RandomResizedCrop(scale=(0.2, 0.6), ratio=(0.5, 2.0))
    box = crop.box(height, width, (224, 224), key)
    assert is_inside(box, height, width)
    assert box == crop.box(height, width, (224, 224), key)
    if 0.5 <= width / height <= 2.0 and min(height, width) >= 50:
        # Sides are rounded to whole pixels.
        area, rounding = box.height * box.width, (box.height + box.width + 1) / 2
        assert 0.2 * height * width - rounding <= area <= 0.6 * height * width + rounding
        assert (box.width - 0.5) / (box.height + 0.5) <= 2.0
        assert (box.width + 0.5) / (box.height - 0.5) >= 0.5


@pytest.mark.parametrize(("height", "width", "expected"), [
    (1000, 10, Box(493, 0, 13, 10)),  # 10 / (3/4) high
    (10, 1000, Box(0, 493, 10, 13)),
])  # fmt: skip
def test_what_no_draw_fits_is_cut_in_the_middle(height, width, expected):
    for key in range(20):
        assert RandomResizedCrop(scale=(1.0, 1.0)).box(height, width, (8, 8), key) == expected


def test_random_crops_are_spread_over_the_image():
    crop = RandomResizedCrop()
    boxes = [crop.box(400, 600, (224, 224), key) for key in range(4000)]
    assert len(set(boxes)) > 3900
    area = sum(box.height * box.width for box in boxes) / len(boxes) / (400 * 600)
    assert 0.36 < area < 0.42  # (0.08 + 1) / 2, less what large boxes that do not fit take away
    ratios = sorted(box.width / box.height for box in boxes)
    assert 0.9 < ratios[len(ratios) // 2] < 1.15
    middles = [(box.left + box.width / 2) / 600 for box in boxes]
    assert abs(sum(middles) / len(middles) - 0.5) < 0.02


@given(SIDES, SIDES, st.integers(1, 600), st.integers(1, 600))
def test_center_crops_are_in_the_middle(height, width, tall, wide):
    box = CenterCrop().box(height, width, (tall, wide), 0)
    assert is_inside(box, height, width)
    assert abs((height - box.height) - 2 * box.top) <= 1
    assert abs((width - box.width) - 2 * box.left) <= 1


def test_the_usual_evaluation_resizes_the_short_side_to_256_for_224():
    assert CenterCrop().short_for((224, 224)) == 256
    for short in (None, 256):
        assert CenterCrop(short).box(512, 1024, (224, 224), 0) == Box(32, 288, 448, 448)
    assert CenterCrop(224).box(512, 1024, (224, 224), 0) == Box(0, 256, 512, 512)


@given(st.integers(8, 500), st.integers(8, 500), st.sampled_from([1, 2, 4, 8]), KEYS)
def test_aligned_boxes_begin_and_end_at_multiples(height, width, scale, key):
    box = RandomResizedCrop().box(height, width, (1, 1), key)
    if min(box.height, box.width) < scale:
        return
    aligned = box.aligned(scale)
    assert is_inside(aligned, height, width)
    for side in ("top", "left", "height", "width"):
        assert getattr(aligned, side) % scale == 0
        assert 0 <= getattr(box, side) - getattr(aligned, side) < scale


def test_scale_is_the_largest_power_that_leaves_the_size():
    assert [power_below(side, 9999, (100, 100), 8) for side in (99, 199, 200, 399, 400, 799, 800, 9999)] == [
        1, 1, 2, 2, 4, 4, 8, 8,
    ]  # fmt: skip
    assert power_below(9999, 9999, (100, 100), 1) == 1


def frame(key=3, flip=0.0, crop=RandomResizedCrop(), size=(16, 16), max_scale=8):  # noqa: B008 -- frozen
    return Frame(crop, size, flip, key, max_scale)


@given(SIDES, SIDES, KEYS, st.integers(1, 64))
def test_boxes_of_a_frame_are_inside_and_aligned(height, width, key, side):
    one = frame(key, size=(side, side))
    box = one.box(height, width)
    assert is_inside(box, height, width)
    scale = power_below(box.height, box.width, (side, side), 8)
    assert box == box.aligned(scale)
    assert one.box(height, width) is box


@given(st.integers(20, 400), st.integers(20, 400), KEYS)
def test_images_of_other_sizes_get_the_same_part(height, width, key):
    one = frame(key, max_scale=1)
    small = one.box(height, width)
    large = one.box(3 * height, 3 * width)
    assert large == Box(3 * small.top, 3 * small.left, 3 * small.height, 3 * small.width)
    other = frame(key, max_scale=1)
    other.box(3 * height, 3 * width)
    assert is_inside(other.box(height, width), height, width)


def test_images_of_other_shapes_are_refused():
    one = frame()
    one.box(300, 400)
    assert one.box(150, 200)
    assert one.box(151, 200)  # rounded when it was resized
    with pytest.raises(DecodeError, match="differ in shape: 300 x 400 and 300 x 300"):
        one.box(300, 300)
    mirrored = frame(crop=None, flip=1.0)
    assert mirrored.box(300, 400) == Box(0, 0, 300, 400)
    assert mirrored.box(30, 30) == Box(0, 0, 30, 30)


def test_mirroring_is_as_frequent_as_asked_and_does_not_depend_on_the_crop():
    for flip in (0.0, 0.25, 0.5, 1.0):
        mirrored = [frame(key, flip).mirrored for key in range(2000)]
        assert abs(sum(mirrored) / 2000 - flip) < 0.04
        assert mirrored == [frame(key, flip, crop=None).mirrored for key in range(2000)]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_geometry_says_what_happens_to_pixels(orientation, flip):
    one = Frame(CenterCrop(8), (8, 8), flip, 0, 1)
    assert one.geometries == {}
    one.of("jpg").box(20, 40, orientation)
    geometry = one.geometries["jpg"]
    assert (geometry.height, geometry.width) == ((20, 40) if orientation < 5 else (40, 20))
    assert (geometry.target.height, geometry.target.width) == (8, 8)
    assert geometry.target.crop_height == geometry.target.crop_width == 20
    assert geometry.target.left == 10


def test_each_image_has_its_own_geometry():
    one = Frame(CenterCrop(8), (8, 8), 0.0, 0, 1)
    mask, image = one.of("mask.png"), one.of("png")
    image.box(40, 80)
    mask.box(20, 40)
    half, full = (one.geometries[name] for name in ("mask.png", "png"))
    assert (half.height, half.width, half.target.left, half.target.crop_width) == (20, 40, 10, 20)
    assert (full.height, full.width, full.target.left, full.target.crop_width) == (40, 80, 20, 40)


@pytest.mark.parametrize(("options", "text"), [
    ({"scale": (0, 1)}, "scale is .0, 1.; expected .least, largest., both above 0 and at most 1"),
    ({"scale": (0.5, 1.1)}, "scale"),
    ({"scale": 0.5}, "scale"),
    ({"ratio": (2, 1)}, "ratio"),
    ({"ratio": (1, math.inf)}, "ratio"),
    ({"ratio": ("a", "b")}, "ratio"),
])  # fmt: skip
def test_options_of_random_crops_are_checked(options, text):
    with pytest.raises(OptionError, match=text):
        RandomResizedCrop(**options)


def test_crops_are_chosen_by_name_or_value():
    assert as_crop(None, None) is None
    assert as_crop("random", (8, 8)) == RandomResizedCrop()
    assert as_crop("center", (8, 8)) == CenterCrop()
    assert as_crop(CenterCrop(9), (8, 8)) == pickle.loads(pickle.dumps(CenterCrop(9)))
    for wrong in ("left", 5, RandomResizedCrop):
        with pytest.raises(OptionError, match='expected "random", "center"'):
            as_crop(wrong, (8, 8))
    with pytest.raises(OptionError, match="crop needs a size"):
        as_crop("random", None)
    with pytest.raises(OptionError, match="short of 9 leaves no 8 x 10; give at least 10"):
        as_crop(CenterCrop(9), (8, 10))
    for wrong in (0, 2.5, True):
        with pytest.raises(OptionError, match="short is"):
            CenterCrop(wrong)


def test_probabilities():
    assert [as_probability("flip", value) for value in (0, 1, 0.5, False)] == [0.0, 1.0, 0.5, 0.0]
    for wrong in (True, 1.5, -1, "half", math.nan):
        with pytest.raises(OptionError, match=r"flip is .*; expected a probability from 0 to 1, such as 0\.5"):
            as_probability("flip", wrong)

"""Sizes and boxes: integers that keep the aspect ratio, never enlarge unasked, and stay within the image."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.resize import Cutout, Resize
from shardpack.errors import OptionError
from tests.strategies import examples

SIDES = st.one_of(st.integers(1, 40), st.integers(1, 20000))
SIZES = st.tuples(SIDES, SIDES)


@st.composite
def resizes(draw, modes=("short", "long", "fit", "cover", "exact")):
    mode, up = draw(st.sampled_from(modes)), draw(st.booleans())
    width = draw(st.integers(1, 3000))
    height = width if mode in {"short", "long"} else draw(st.integers(1, 3000))
    return Resize(mode, width, height, up)


@pytest.mark.parametrize(
    ("text", "size", "target"),
    [
        ("short=256", (375, 500), Cutout(256, 341, 0, 0, 375, 500)),
        ("short=256", (500, 375), Cutout(341, 256, 0, 0, 500, 375)),
        ("short=256", (200, 900), Cutout(200, 900, 0, 0, 200, 900)),
        ("short=256:up", (128, 100), Cutout(328, 256, 0, 0, 128, 100)),
        ("long=512", (375, 1000), Cutout(192, 512, 0, 0, 375, 1000)),
        ("long=10", (1, 1000), Cutout(1, 10, 0, 0, 1, 1000)),
        ("fit=640x480", (960, 960), Cutout(480, 480, 0, 0, 960, 960)),
        ("fit=640x480", (300, 1280), Cutout(150, 640, 0, 0, 300, 1280)),
        ("cover=224x224", (375, 500), Cutout(224, 224, 0, 62, 375, 375)),
        ("cover=200x100", (400, 400), Cutout(100, 200, 100, 0, 200, 400)),
        ("cover=200x100", (400, 150), Cutout(100, 150, 150, 0, 100, 150)),
        ("cover=200x100:up", (10, 10), Cutout(100, 200, 2, 0, 5, 10)),
        ("exact=224x224", (375, 100), Cutout(224, 100, 0, 0, 375, 100)),
        ("exact=224x224:up", (375, 100), Cutout(224, 224, 0, 0, 375, 100)),
    ],
)
def test_examples(text, size, target):
    assert Resize.parse(text).target(*size) == target


@given(resizes())
def test_text_names_every_resize(resize):
    assert Resize.parse(str(resize)) == resize
    assert pickle.loads(pickle.dumps(resize)) == resize


@examples(300)
@given(resizes(), SIZES)
def test_results_and_parts_are_sizes_within_the_image(resize, size):
    height, width = size
    target = resize.target(height, width)
    assert target.height >= 1
    assert target.width >= 1
    assert 0 <= target.top <= height - target.crop_height
    assert 0 <= target.left <= width - target.crop_width
    assert target.crop_height >= 1
    assert target.crop_width >= 1
    assert abs((height - target.crop_height) - 2 * target.top) <= 1  # centred
    assert abs((width - target.crop_width) - 2 * target.left) <= 1
    if resize.mode != "cover":
        assert (target.top, target.left, target.crop_height, target.crop_width) == (0, 0, height, width)


@examples(300)
@given(resizes(), SIZES)
def test_nothing_grows_unless_asked(resize, size):
    target = resize.target(*size)
    if not resize.up:
        assert target.height <= target.crop_height
        assert target.width <= target.crop_width


@examples(300)
@given(resizes(modes=("short", "long", "fit", "cover")), SIZES)
def test_aspect_ratio_is_kept_to_half_a_pixel(resize, size):
    target = resize.target(*size)
    # Either side may be the one that is rounded, in the result or in the part.
    wanted_height = target.crop_height * target.width / target.crop_width
    wanted_part = target.height * target.crop_width / target.width
    wanted_width = target.crop_width * target.height / target.crop_height
    near_part = abs(wanted_part - target.crop_height) <= 0.5
    near_part |= abs(target.width * target.crop_height / target.height - target.crop_width) <= 0.5
    sides_of_one = 1 in {target.height, target.width, target.crop_height, target.crop_width}
    near = abs(wanted_height - target.height) <= 0.5 or abs(wanted_width - target.width) <= 0.5
    assert near or near_part or sides_of_one


@examples(200)
@given(resizes(modes=("short", "long", "fit")), SIZES)
def test_what_was_asked_for_is_reached(resize, size):
    target = resize.target(*size)
    changed = (target.height, target.width) != size
    if resize.up or changed:
        if resize.mode == "short":
            assert min(target.height, target.width) == resize.width or 1 in {target.height, target.width}
        if resize.mode == "long":
            assert max(target.height, target.width) == resize.width
        if resize.mode == "fit":
            assert target.height == resize.height or target.width == resize.width
    if resize.mode == "fit" and not (resize.up or changed):
        assert size[0] <= resize.height
        assert size[1] <= resize.width
    if resize.mode == "fit":
        assert target.height <= max(resize.height, 1)
        assert target.width <= max(resize.width, 1)


@given(resizes(), SIZES)
def test_turned_images_are_treated_alike(resize, size):
    turned = Resize(resize.mode, resize.height, resize.width, resize.up)
    one, other = resize.target(*size), turned.target(size[1], size[0])
    assert (one.height, one.width, one.top, one.left, one.crop_height, one.crop_width) == (
        other.width, other.height, other.left, other.top, other.crop_width, other.crop_height,
    )  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["", "256", "640x480", "short", "short=", "short=-1", "short=2.5", "short=1x2", "fit=3", "short=4:down", None],
)
def test_what_is_not_a_resize_is_refused_with_the_choices(text):
    with pytest.raises(OptionError, match=r"unknown resize .*; expected short=N, long=N, fit=WxH"):
        Resize.parse(text)


@pytest.mark.parametrize("text", ["short=0", "long=65536", "fit=0x4", "cover=4x70000"])
def test_sides_are_bounded(text):
    with pytest.raises(OptionError, match="from 1 to 65535 pixels"):
        Resize.parse(text)

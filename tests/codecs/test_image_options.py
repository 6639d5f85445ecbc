"""What options plan for an image, decided before anything is decoded."""

from __future__ import annotations

import pytest

from shardpack.codecs.crop import Box, CenterCrop, RandomResizedCrop
from shardpack.codecs.image_options import ImageOptions, as_pair
from shardpack.errors import OptionError


def test_without_a_crop_all_of_the_image_is_shown():
    options = ImageOptions(size=(100, 50))
    assert not options.cuts
    assert options.frame(3).box(400, 300) == Box(0, 0, 400, 300)
    plan = options.plan(401, 999, None)
    assert plan.box == Box(0, 0, 401, 999)
    assert plan.shows_all
    assert (plan.scale, plan.size, plan.mirrored) == (4, (100, 50), False)
    assert plan.decoded_size == (101, 250)
    assert plan.part_at(4) == (0, 0, 249.75, 100.25)
    assert ImageOptions(size=100, reduced=False).plan(401, 999, None).scale == 1
    assert ImageOptions().plan(401, 999, None).size is None


def test_the_scale_is_that_of_the_part():
    options = ImageOptions(size=100, crop=CenterCrop(200))
    plan = options.plan(802, 1000, options.frame(0))
    assert plan.box == Box(200, 296, 400, 400)
    assert plan.scale == 4
    assert not plan.shows_all
    assert plan.part_at(4) == (74, 50, 174, 150)  # whole pixels of the decoded image


def test_what_cuts_images_and_what_moves_labels():
    for options in ({"size": 8, "crop": "random"}, {"flip": 0.5}, {"flip": 0.5, "size": 8}):
        assert ImageOptions(**options).cuts
        assert ImageOptions(**options).moves_labels
    for options in ({"size": 8}, {"exif_transpose": True}):
        assert not ImageOptions(**options).cuts
        assert ImageOptions(**options).moves_labels
    assert not ImageOptions(min_size=8, exif_transpose=True).moves_labels


def test_options_are_made_into_values():
    options = ImageOptions(size=8, min_size=None, crop="random", flip=1)
    assert options == ImageOptions(size=(8, 8), crop=RandomResizedCrop(), flip=1.0)
    with pytest.raises(OptionError, match="let it mirror as well, instead of flip"):
        ImageOptions(min_size=8, flip=0.5)
    with pytest.raises(OptionError, match="crop needs a size"):
        ImageOptions(min_size=8, crop="random")
    with pytest.raises(OptionError, match="not both"):
        ImageOptions(min_size=8, size=8)


def test_pairs():
    assert as_pair("size", None) is None
    assert as_pair("size", 3) == (3, 3)
    assert as_pair("size", [3, 4]) == (3, 4)
    with pytest.raises(OptionError, match="size is 0"):
        as_pair("size", 0)

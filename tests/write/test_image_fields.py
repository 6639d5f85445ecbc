"""Which field is the image: told by names and palettes, asked where they do not tell."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shardpack.errors import OptionError
from shardpack.write.image_fields import ImageFields
from tests.codecs.photos import encoded, smooth

PHOTO = encoded(smooth(8, 12))
PNG = encoded(smooth(8, 12), "png")
PALETTE = encoded(Image.fromarray(np.zeros((8, 12), np.uint8)).convert("P"), "png")


def sample(*names, **payloads):
    return {**dict.fromkeys(names, PHOTO), **payloads}


@pytest.mark.parametrize(
    ("fields", "said", "parts"),
    [
        (sample("jpg", "json", "mp4", "nii.gz", "dcm"), {}, (["jpg"], [])),
        (sample("json"), {}, ([], [])),
        (sample("jpg", "seg.png"), {}, (["jpg"], ["seg.png"])),
        (sample("mask.png", "jpg", "panoptic.png", "seg.npy"), {}, (["jpg"], ["mask.png", "panoptic.png", "seg.npy"])),
        (sample("seg.png"), {}, ([], ["seg.png"])),
        (sample("jpg", png=PALETTE), {}, (["jpg"], ["png"])),
        (sample(png=PALETTE), {}, (["png"], [])),
        (sample("jpg", "emb.npy"), {}, (["jpg"], [])),
        (sample("jpg", "depth.png"), {"nearest": "depth.png"}, (["jpg"], ["depth.png"])),
        (sample("jpg", "depth.npy"), {"nearest": ["depth.npy"]}, (["jpg"], ["depth.npy"])),
        (sample("jpg", "thumb.jpg"), {"keep": "thumb.jpg"}, (["jpg"], [])),
        (sample("left.jpg", "right.jpg"), {"image": ["left.jpg", "right.jpg"]}, (["left.jpg", "right.jpg"], [])),
        (sample("seg.png"), {"image": "seg.png"}, (["seg.png"], [])),
        (sample("jpg", png=PALETTE), {"image": "jpg"}, (["jpg"], ["png"])),
        (sample("jpg", "seg.png"), {"keep": "seg.png"}, (["jpg"], [])),
        (sample("jpg", "png.zst"), {"keep": "png.zst"}, (["jpg"], [])),
        ({"png": np.zeros((3, 4), np.uint8)}, {}, (["png"], [])),
    ],
)
def test_parts(fields, said, parts):
    assert ImageFields.of(**said).parts(fields) == parts


@pytest.mark.parametrize(
    ("fields", "said", "unclear"),
    [
        (sample("left.jpg", "right.jpg"), {}, "'left.jpg', 'right.jpg'"),
        (sample("jpg", png=PNG), {}, "'jpg', 'png'"),
        (sample("jpg", "depth.png"), {"image": "jpg"}, "'depth.png'"),
        (sample(png=PALETTE, gif=PALETTE), {}, "'png', 'gif'"),
        (sample("jpg", png=b"not a png"), {}, "'jpg', 'png'"),
    ],
)
def test_what_is_not_clear_is_asked(fields, said, unclear):
    with pytest.raises(OptionError, match=rf"what to do with {unclear}; .*--image .*--nearest .*--keep"):
        ImageFields.of(**said).parts(fields)


def test_a_compressed_image_is_asked_about():
    with pytest.raises(
        OptionError, match=r"'seg.png.zst' is a compressed image.*\(--keep seg.png.zst\), or decompress it"
    ):
        ImageFields().parts(sample("jpg", "seg.png.zst"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"image": "json"}, "no ending of an image"),
        ({"nearest": "json"}, "no ending of an image or array"),
        ({"image": "jpg", "keep": ["jpg"]}, "by two of image, nearest and keep"),
        ({"image": 3}, "image is 3, expected the name of a field"),
        ({"keep": [None]}, "keep is"),
        ({"nearest": ""}, "nearest is ''"),
    ],
)
def test_names_that_make_no_sense_are_refused(said, reason):
    with pytest.raises(OptionError, match=reason):
        ImageFields.of(**said)


def test_description_has_what_was_said():
    assert ImageFields.of("jpg", ["b.png", "a.png"]).describe() == {"image": ["jpg"], "nearest": ["a.png", "b.png"]}
    assert ImageFields().describe() == {}

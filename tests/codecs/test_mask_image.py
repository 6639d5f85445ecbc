"""Masks come back as the numbers they are; what would not is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shardpack.codecs.mask_image import load_mask, mask_image
from shardpack.errors import SourceError
from tests.codecs.photos import animation, decoded, encoded, png_of_16_bit_colour

PALETTE = [value for colour in range(256) for value in (colour, 255 - colour, 7)]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.int32, np.int64, np.uint32])
def test_numbers_come_back(dtype):
    most = {1: 2, 8: 256}.get(8 if dtype == np.uint8 else 1 if dtype == np.bool_ else 16, 65536)
    numbers = (np.arange(12 * 9).reshape(9, 12) * 999 % most).astype(dtype)
    found = np.asarray(load_mask(encoded(mask_image(numbers), "png")))
    np.testing.assert_array_equal(found, numbers)


def test_palettes_come_back():
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    image.putpalette(PALETTE)
    like = load_mask(encoded(image, "png", transparency=3))
    made = decoded(encoded(mask_image(np.asarray(like)[:, ::-1], like), "png"))
    np.testing.assert_array_equal(np.asarray(made), [[2, 1, 0], [5, 4, 3]])
    assert made.getpalette() == like.getpalette()
    assert made.info["transparency"] == 3


@pytest.mark.parametrize("number", [-1, 65536])
def test_numbers_that_png_cannot_hold_are_refused(number):
    with pytest.raises(SourceError, match="numbers that a png cannot hold"):
        mask_image(np.full((2, 3), number))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (animation("gif"), "several frames"),
        (png_of_16_bit_colour(), "16 bits a channel"),
        (encoded(np.zeros((4, 6), np.uint8), "tif", orientation=3), "has an orientation"),
    ],
)
def test_what_would_lose_something_is_refused(payload, reason):
    with pytest.raises(SourceError, match=reason):
        load_mask(payload)

"""Profiles, CMYK, palettes and alpha: what comes out is sRGB, judged by profiles that are computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from shardpack.codecs.colour import in_srgb, on_white, unpacked
from tests.codecs.icc_profiles import SRGB, cmyk_profile, grey_profile, rgb_profile

LINEAR = rgb_profile(SRGB, 1.0)
HALF = 188  # 128 / 255 in linear light


def converted(mode, colour, profile=None):
    image = Image.new(mode, (3, 2), colour)
    if profile is not None:
        image.info["icc_profile"] = profile
    made = in_srgb(unpacked(image))
    assert made.size == (3, 2)
    return made.mode, made.getpixel((2, 1))


@pytest.mark.parametrize(
    ("mode", "colour", "profile", "expected"),
    [
        ("RGB", (128, 128, 128), LINEAR, ("RGB", (HALF, HALF, HALF))),
        ("RGBA", (128, 128, 0, 77), LINEAR, ("RGBA", (HALF, HALF, 0, 77))),
        ("L", 128, grey_profile(), ("L", HALF)),
        ("LA", (128, 77), grey_profile(), ("LA", (HALF, 77))),
        ("CMYK", (0, 0, 0, 255), cmyk_profile(), ("RGB", (39, 39, 39))),  # L* = 40 / 2.55
        ("CMYK", (0, 0, 0, 0), cmyk_profile(), ("RGB", (255, 255, 255))),
    ],
)
def test_profiles_are_applied(mode, colour, profile, expected):
    found_mode, found = converted(mode, colour, profile)
    assert found_mode == expected[0]
    np.testing.assert_allclose(found, expected[1], atol=1)


def test_a_wide_gamut_becomes_more_saturated_numbers():
    _, (red, green, blue) = converted("RGB", (200, 100, 50), rgb_profile())
    assert red > 215
    assert 95 <= green <= 105
    assert blue < 50


@pytest.mark.parametrize(
    ("mode", "colour", "profile"),
    [
        ("RGB", (1, 2, 3), b"not a profile" * 20),
        ("RGB", (1, 2, 3), rgb_profile()[:200]),
        ("RGB", (1, 2, 3), grey_profile()),
        ("L", 77, LINEAR),
        ("RGB", (10, 20, 30), rgb_profile(SRGB, 1.0, name="sRGB IEC61966-2.1")),  # by its name
        ("RGB", (10, 20, 30), b""),
    ],
)
def test_profiles_that_say_nothing_else_are_ignored(mode, colour, profile):
    assert converted(mode, colour, profile) == (mode, colour)


def test_a_profile_of_linear_srgb_is_applied():
    _, found = converted("RGB", (128, 128, 128), rgb_profile(SRGB, 1.0, name="GIMP built-in Linear sRGB"))
    np.testing.assert_allclose(found, HALF, atol=1)


def test_cmyk_without_a_profile_is_converted_plainly():
    assert converted("CMYK", (0, 255, 255, 0)) == ("RGB", (255, 0, 0))
    assert converted("CMYK", (0, 0, 0, 255)) == ("RGB", (0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, ("L", 255)),
        ("L", 7, ("L", 7)),
        ("RGBX", (1, 2, 3, 4), ("RGB", (1, 2, 3))),
        ("YCbCr", (255, 128, 128), ("RGB", (255, 255, 255))),
        ("I;16", 40000, ("I;16", 40000)),
        ("F", 0.5, ("F", 0.5)),
    ],
)
def test_modes(mode, colour, expected):
    assert converted(mode, colour) == expected


def with_palette(transparency=None):
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def test_palettes_become_their_colours():
    assert unpacked(with_palette()).mode == "RGB"
    assert unpacked(with_palette()).getpixel((0, 0)) == (10, 20, 30)
    assert unpacked(with_palette(1)).getpixel((0, 0)) == (10, 20, 30, 0)
    assert unpacked(with_palette(0)).getpixel((0, 0)) == (10, 20, 30, 255)
    assert unpacked(with_palette(bytes([255, 99]))).getpixel((0, 0)) == (10, 20, 30, 99)


def test_a_palette_keeps_its_profile():
    image = with_palette()
    image.info["icc_profile"] = LINEAR
    image.putpalette([0, 0, 0, 128, 128, 128])
    np.testing.assert_allclose(in_srgb(unpacked(image)).getpixel((0, 0)), HALF, atol=1)


@pytest.mark.parametrize(("mode", "colour", "seen"), [("L", 9, 9), ("RGB", (1, 2, 3), (1, 2, 3))])
def test_a_transparent_colour_is_alpha(mode, colour, seen):
    image = Image.new(mode, (3, 2), colour)
    image.info["transparency"] = seen
    assert unpacked(image).getchannel("A").getpixel((0, 0)) == 0


def test_alpha_is_laid_on_white():
    assert on_white(Image.new("RGBA", (2, 2), (100, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert on_white(Image.new("RGBA", (2, 2), (100, 0, 0, 255))).getpixel((0, 0)) == (100, 0, 0)
    assert on_white(Image.new("RGBA", (2, 2), (0, 0, 0, 51))).getpixel((0, 0)) == (204, 204, 204)
    assert on_white(Image.new("LA", (2, 2), (0, 51))).getpixel((0, 0)) == 204
    assert on_white(Image.new("LA", (2, 2), (0, 51))).mode == "L"
    assert on_white(Image.new("RGB", (2, 2), (1, 2, 3))).getpixel((0, 0)) == (1, 2, 3)


def test_sixteen_bits_in_any_order_of_bytes():
    values = np.array([[0, 256, 65535]], np.uint16)
    for mode in ("I;16", "I;16B"):
        data = values.astype(">u2" if mode == "I;16B" else "<u2").tobytes()
        image = unpacked(Image.frombytes(mode, (3, 1), data))
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), values)

"""One image: what is encoded, what stays, and that nothing is lost unsaid."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shardpack.codecs.arrays import view_npy
from shardpack.codecs.image_codec import ImageCodec
from shardpack.codecs.resize import Resize
from shardpack.errors import SourceError
from shardpack.write.convert_image import ImageConversion
from tests.codecs.icc_profiles import SRGB, rgb_profile
from tests.codecs.photos import ORIENTATION, animation, decoded, encoded, png_of_16_bit_colour, psnr, smooth
from tests.strategies import examples

PHOTO = encoded(smooth(60, 90))
NOISE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)


def convert(payload, codec=None, resize=None, name="jpg", *, first_frame=False):
    """Return (name, value, geometry, what was done)."""
    counts = Counter()
    conversion = ImageConversion(Resize.parse(resize) if resize else None, first_frame)
    made = conversion.convert(name, payload, ImageCodec.parse(codec) if codec else None, counts)
    done = [what for what in counts if counts[what] and not what.startswith("image.bytes") and what != "image.grown"]
    assert len(done) == 1
    if isinstance(payload, bytes):
        assert counts["image.bytes_before"] == len(payload)
        assert counts["image.bytes_after"] == len(made.value)
        assert counts["image.grown"] == (len(made.value) > len(payload))
    return *made, done[0].removeprefix("image.")


@pytest.mark.parametrize(
    ("name", "codec", "stored"),
    [
        ("jpg", "jpg:q=5", "jpg"),
        ("jpeg", "jpg:q=5", "jpeg"),
        ("left.jpg", "webp:q=5", "left.webp"),
        ("jpg", "png", "png"),
        ("a.b.jpeg", "npy", "a.b.npy"),
    ],
)
def test_names(name, codec, stored):
    found, payload, geometry, done = convert(PHOTO, codec, name=name)
    assert (found, done) == (stored, "encoded")
    assert geometry.is_unchanged
    if codec != "npy":
        assert decoded(payload).size == (90, 60)


@examples(60)
@given(
    st.sampled_from(["jpg", "png", "webp", "gif", "tif"]),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([None, "short=16", "long=24", "cover=16x8", "fit=9x20:up", "exact=7x7"]),
    st.sampled_from([None, "jpg", "png", "webp:lossless", "npy"]),
)
def test_sizes_are_those_of_the_geometry(extension, height, width, resize, codec):
    payload = encoded(smooth(height, width), extension)
    name, made, geometry, done = convert(payload, codec, resize, extension)
    target = geometry.target
    if resize is not None:
        assert target == Resize.parse(resize).target(height, width)
    size = view_npy(made).shape[1::-1] if name == "npy" else decoded(made).size
    assert size == (target.width, target.height)
    if done in {"unchanged", "kept"}:
        assert (name, made) == (extension, payload)


@pytest.mark.parametrize("codec", [None, "jpg", "png", "npy"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation, codec):
    payload = encoded(smooth(60, 90), orientation=orientation)
    name, made, geometry, done = convert(payload, codec, None if codec else "long=999")
    upright = ImageOps.exif_transpose(decoded(payload)).convert("RGB")
    if done in {"unchanged", "kept"}:  # nothing to turn
        assert orientation == 1
        assert made == payload
        return
    image = Image.fromarray(view_npy(made)) if name == "npy" else decoded(made)
    assert image.getexif().get(ORIENTATION) is None
    assert geometry.orientation == orientation
    assert psnr(image, upright) > 35


def test_an_image_of_which_nothing_is_asked_stays_as_it_is():
    payload = encoded(smooth(60, 90), orientation=6)
    name, made, geometry, done = convert(payload)
    assert (name, made, done) == ("jpg", payload, "unchanged")
    assert geometry.is_unchanged


def test_a_lossy_image_that_would_grow_stays():
    small = encoded(NOISE, quality=5)
    for codec in ("jpg:q=95", "webp:q=100"):
        assert convert(small, codec)[:2] == ("jpg", small)
        assert convert(small, codec)[3] == "kept"


def test_resized_images_never_stay():
    small = encoded(NOISE, quality=1)
    name, made, geometry, done = convert(small, "jpg:q=100", "short=59")
    assert done == "encoded"
    assert len(made) > len(small)
    assert decoded(made).size == (89, 59) == (geometry.target.width, geometry.target.height)
    assert name == "jpg"


@pytest.mark.parametrize("codec", ["png", "npy", "webp:lossless"])
def test_lossless_codecs_always_convert(codec):
    name, made, _, done = convert(PHOTO, codec)
    assert done == "encoded"
    assert len(made) > len(PHOTO)
    pixels = view_npy(made) if codec == "npy" else np.asarray(decoded(made))
    expected = np.asarray(decoded(PHOTO))
    assert np.abs(pixels.astype(int) - expected).max() <= 3  # two builds of libjpeg-turbo may differ by a step
    assert name == codec.partition(":")[0]


def test_a_lossless_image_in_its_own_format_stays_unless_smaller():
    squeezed = encoded(smooth(), "png", optimize=True)
    assert convert(squeezed, "png", name="png")[3] == "kept"
    loose = encoded(smooth(), "png", compress_level=0)
    name, made, _, done = convert(loose, "png", name="png")
    assert (name, done) == ("png", "encoded")
    assert len(made) < len(loose)
    np.testing.assert_array_equal(np.asarray(decoded(made)), smooth())


def test_lossless_to_lossy_always_converts():
    flat = encoded(np.zeros((60, 90, 3), np.uint8), "png")
    name, made, _, done = convert(flat, "jpg", name="png")
    assert (name, done) == ("jpg", "encoded")
    assert len(made) > len(flat)


@pytest.mark.parametrize(
    ("extension", "options", "stored"),
    [
        ("jpg", {}, "jpg"),
        ("png", {}, "png"),
        ("webp", {}, "webp"),
        ("webp", {"lossless": True}, "webp"),
        ("gif", {}, "png"),
        ("bmp", {}, "png"),
        ("tif", {}, "png"),
    ],
)
def test_resizing_keeps_the_format_that_can_be_written(extension, options, stored):
    name, made, _, done = convert(encoded(smooth(60, 90), extension, **options), None, "short=30", extension)
    assert (name, done) == (stored, "encoded")
    assert decoded(made).size == (45, 30)
    if extension == "webp":
        assert (b"VP8L" in made) == ("lossless" in options)


@pytest.mark.parametrize("resize", ["short=60", "long=90", "fit=90x60", "cover=90x60", "exact=900x600"])
def test_what_is_small_enough_stays(resize):
    assert convert(PHOTO, None, resize)[1:] == (PHOTO, convert(PHOTO, None, resize)[2], "unchanged")


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif"])
def test_animations_stay_unless_one_frame_is_asked_for(extension):
    moving = animation(extension)
    name, made, geometry, done = convert(moving, "jpg", "short=10", extension)
    assert (name, made, done) == (extension, moving, "animated")
    assert geometry.is_unchanged
    name, made, geometry, done = convert(moving, "jpg", "short=10", extension, first_frame=True)
    assert (name, done) == ("jpg", "encoded")
    assert decoded(made).size == (15, 10)
    assert psnr(decoded(made), decoded(encoded(smooth(20, 30))).resize((15, 10))) > 20
    assert convert(moving, None, "short=999", extension, first_frame=True)[3] == "encoded"


def test_profiles_are_applied_and_not_stored():
    payload = encoded(np.full((8, 8, 3), 128, np.uint8), icc_profile=rgb_profile(SRGB, 1.0))
    image = decoded(convert(payload, "png")[1])
    np.testing.assert_allclose(image.getpixel((3, 3)), 188, atol=2)
    assert "icc_profile" not in image.info


def test_cmyk_becomes_rgb():
    payload = encoded(Image.new("CMYK", (9, 8), (0, 255, 255, 0)))
    image = decoded(convert(payload, "png")[1])
    assert image.mode == "RGB"
    np.testing.assert_allclose(image.getpixel((3, 3)), (255, 0, 0), atol=4)
    assert decoded(convert(payload, "jpg", "short=4")[1]).mode == "RGB"


def test_alpha_is_laid_on_white_where_it_cannot_stay():
    pixels = np.zeros((8, 8, 4), np.uint8)
    payload = encoded(pixels, "png")
    assert decoded(convert(payload, "jpg", name="png")[1]).getpixel((3, 3)) == (255, 255, 255)
    assert view_npy(convert(payload, "npy", name="png")[1]).shape == (8, 8, 4)
    assert decoded(convert(payload, None, "short=4", "png")[1]).mode == "RGBA"


def test_grey_of_16_bits_stays_or_is_refused():
    deep = encoded((np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64), "png")
    small = np.asarray(decoded(convert(deep, None, "short=32", "png")[1]))
    assert small.dtype in (np.uint16, np.int32)  # the latter by Pillow 10
    assert len(np.unique(small)) > 256
    assert view_npy(convert(deep, "npy", name="png")[1]).dtype == np.uint16
    for codec in ("jpg", "webp:lossless", "npy:rgb"):
        with pytest.raises(SourceError, match=r"more than 8 bits, which .* would lose"):
            convert(deep, codec, name="png")


def test_colour_of_16_bits_is_refused_or_stays():
    deep = png_of_16_bit_colour()
    for codec, resize in (("png", None), ("jpg", None), (None, "short=2"), ("npy", None)):
        with pytest.raises(SourceError, match="16 bits a channel, of which only 8 can be read here"):
            convert(deep, codec, resize, "png")
    assert convert(deep, None, "short=100", "png")[3] == "unchanged"


def test_palettes_stay_only_where_pixels_do():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    image.putpalette([value for colour in range(256) for value in (colour, 0, 255 - colour)])
    payload = encoded(image, "bmp")
    assert decoded(convert(payload, "png", name="bmp")[1]).mode == "P"
    small = decoded(convert(payload, "png", "short=3", "bmp")[1])
    assert small.mode == "RGB"
    assert decoded(convert(payload, "jpg", name="bmp")[1]).mode == "RGB"


def test_what_would_become_too_large_is_refused():
    with pytest.raises(SourceError, match=r"would become 32000 x 8000 pixels by short=8000:up"):
        convert(encoded(smooth(2, 8)), None, "short=8000:up")
    with pytest.raises(SourceError, match="would become 80000 x 1 pixels"):
        convert(encoded(smooth(1, 80000), "png"), "png", "short=1:up", "png")


def test_jxl_and_back():
    pytest.importorskip("imagecodecs")
    photo = encoded(smooth(200, 300), orientation=6)
    name, packed, geometry, done = convert(photo, "jxl")
    assert (name, done) == ("jxl", "encoded")
    assert len(packed) < len(photo)
    assert geometry.is_unchanged  # the orientation stays in the JPEG
    assert convert(packed, "jxl", name="jxl")[3] == "kept"
    name, restored, geometry, done = convert(packed, "jpg:q=5", name="jxl")
    assert (name, restored, done) == ("jpg", photo, "restored")
    assert geometry.is_unchanged
    name, small, _, _ = convert(packed, None, "short=50", "jxl")
    assert name == "jpg"
    assert decoded(small).size == (50, 75)


def test_jxl_leaves_what_is_not_a_jpeg():
    pytest.importorskip("imagecodecs")
    png = encoded(smooth(), "png")
    assert convert(png, "jxl", name="png")[:2] == ("png", png)
    with pytest.raises(Exception, match="truncated"):
        convert(PHOTO[: len(PHOTO) // 2], "jxl")


@pytest.mark.parametrize("value", [NOISE, Image.fromarray(NOISE)], ids=["array", "pil"])
def test_pixels_of_a_function_are_encoded_once(value):
    name, made, _, _ = convert(value, "png", "short=30")
    assert name == "png"
    np.testing.assert_array_equal(
        np.asarray(decoded(made)), np.asarray(Image.fromarray(NOISE).resize((45, 30), Image.Resampling.BICUBIC))
    )
    name, small, _, _ = convert(value, None, "short=30")
    assert (name, small.size) == ("jpg", (45, 30))
    assert convert(value, None, "short=100")[1] is value


def test_misnamed_images_are_known_by_their_bytes():
    name, made, _, done = convert(encoded(smooth(), "png"), "jpg", name="jpg")
    assert (name, done) == ("jpg", "encoded")
    assert made.startswith(b"\xff\xd8\xff")


@pytest.mark.parametrize(
    ("option", "codec", "size"), [("short=30", "png", (30, 45)), (None, "png", (60, 90)), ("short=30", None, (30, 45))]
)
def test_pil_images_of_a_function_are_turned_upright(option, codec, size):
    exif = Image.Exif()
    exif[0x112] = 6
    buffer = io.BytesIO()
    Image.fromarray(smooth(60, 90)).save(buffer, "PNG", exif=exif)
    turned = Image.open(buffer).point(lambda value: value)
    _, value, geometry, _ = convert(turned, codec, option, name="png")
    image = value if codec is None else decoded(value)
    assert image.size == size
    assert 0x112 not in image.getexif()
    assert (geometry.orientation, geometry.height) == (6, 60)

"""Stored images by their headers; their pixels upright and reduced, judged by Pillow alone."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from shardpack.codecs import jpeg_turbo
from shardpack.codecs.geometry import turned_size
from shardpack.codecs.resize import Cutout, Resize
from shardpack.codecs.still_image import StillImage, resized
from shardpack.errors import DecodeError
from tests.codecs.photos import animation, decoded, encoded, png_of_16_bit_colour, psnr, smooth
from tests.strategies import examples


@pytest.fixture(params=["simplejpeg", "pillow"])
def _decoder(request, monkeypatch):
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg_turbo, "installed", lambda: None)


each_decoder = pytest.mark.usefixtures("_decoder")


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "gif", "bmp", "tif", "jp2"])
def test_formats_are_told_by_their_bytes(extension):
    still = StillImage.open(encoded(smooth(20, 30), extension))
    assert (still.extension, still.height, still.width, still.orientation) == (extension, 20, 30, 1)
    assert not still.is_animated
    assert still.lost_bits is None
    assert still.is_lossy == (extension in {"jpg", "webp", "jp2"})
    assert still.has_palette == (extension == "gif")


def test_webp_without_loss():
    assert not StillImage.open(encoded(smooth(), "webp", lossless=True)).is_lossy
    assert not StillImage.open(encoded(smooth(), "webp", lossless=True, exif=b"Exif\0\0")).is_lossy  # VP8X before VP8L
    assert StillImage.open(encoded(smooth(), "webp", exif=b"Exif\0\0")).is_lossy


@pytest.mark.parametrize("extension", ["gif", "png", "webp", "tif"])
def test_animations_and_pages(extension):
    assert StillImage.open(animation(extension)).is_animated


def test_a_jpeg_with_a_second_view_is_one_image():
    still = StillImage.open(animation("mpo", frames=2))
    assert still.extension == "jpg"
    assert not still.is_animated


def tiff_of_16_bit_colour():
    """An uncompressed RGB of 16 bits, as Pillow cannot write it."""
    import struct

    data = bytes(2 * 2 * 6)
    tags = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 300), (277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 1, len(data))]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    head = head.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16)
    return head.ljust(300, b"\0") + data


@pytest.mark.parametrize(
    ("payload", "bits"),
    [
        (png_of_16_bit_colour(), 16),
        (tiff_of_16_bit_colour(), 16),
        (b"P6 2 2 65535\n" + bytes(24), 16),
        (b"P6 2 2 1023\n" + bytes(24), 10),
        (b"P6 2 2 255\n" + bytes(12), None),
        (b"P5 2 2 65535\n" + bytes(8), None),  # grey is kept
        (encoded(np.zeros((4, 4), np.uint16), "png"), None),
        (encoded(np.zeros((4, 4), np.uint16), "tif"), None),
        (encoded(smooth(32, 32), "jp2"), None),
    ],
    ids=["png", "tif", "ppm", "ppm of 10", "ppm of 8", "pgm", "grey png", "grey tif", "jp2"],
)
def test_bits_that_pillow_would_drop_are_told(payload, bits):
    assert StillImage.open(payload).lost_bits == bits


def test_bits_of_jpeg_2000():
    payload = bytearray(encoded(smooth(32, 32), "jp2"))
    at = payload.index(b"\xff\x51") + 40
    for component in range(3):
        payload[at + 3 * component] = 11  # bits - 1
    assert StillImage.open(bytes(payload)).lost_bits == 12


@pytest.mark.parametrize(("depth", "bits"), [(8, None), (10, 10), (12, 12)])
def test_bits_of_avif(depth, bits):
    imagecodecs = pytest.importorskip("imagecodecs")
    if "avif" not in features.modules or not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = smooth(32, 32).astype(np.uint8 if depth == 8 else np.uint16)
    payload = imagecodecs.avif_encode(pixels, bitspersample=depth)
    assert StillImage.open(payload).lost_bits == bits


@each_decoder
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 90), (61, 91)])
def test_images_are_loaded_upright(orientation, size):
    payload = encoded(smooth(*size), orientation=orientation)
    still = StillImage.open(payload)
    assert still.orientation == orientation
    expected = ImageOps.exif_transpose(decoded(payload))
    assert turned_size(still.height, still.width, orientation) == (expected.height, expected.width)
    target = Resize.parse("short=10").target(expected.height, expected.width)
    image, scale = still.load(target)
    found = resized(image, target, scale).convert("RGB")
    assert found.size == (target.width, target.height)
    assert psnr(found, expected.resize(found.size, Image.Resampling.BICUBIC)) > 33


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", ["png", "webp", "tif", "avif"])
def test_every_format_is_turned_once(extension, orientation):
    if extension == "avif" and ("avif" not in features.modules or not features.check("avif")):
        pytest.skip("this Pillow has no AVIF")
    array = smooth(60, 90)
    still = StillImage.open(encoded(array, extension, orientation=orientation))
    assert (still.height, still.width, still.orientation) == (60, 90, orientation)
    geometry = still.geometry()
    image, scale = still.load(geometry.target)
    assert scale == 1
    assert image.size == (geometry.target.width, geometry.target.height)
    assert psnr(image.convert("RGB"), geometry.move_mask(array)) > 28


@examples(60)
@given(st.integers(20, 200), st.integers(20, 200), st.integers(4, 60), st.sampled_from(["short", "cover", "exact"]))
def test_reduced_decoding_hardly_shows(height, width, side, mode):
    payload = encoded(smooth(height, width))
    resize = Resize(mode, side, side)
    target = resize.target(height, width)
    image, scale = StillImage.open(payload).load(target)
    found = resized(image, target, scale)
    box = (target.left, target.top, target.left + target.crop_width, target.top + target.crop_height)
    expected = decoded(payload).resize(found.size, Image.Resampling.BICUBIC, box)
    assert psnr(found.convert("RGB"), expected) > 33
    # At least twice the pixels are left to the resizer.
    assert scale == 1 or (
        target.crop_height >= 2 * scale * target.height and target.crop_width >= 2 * scale * target.width
    )


@each_decoder
@pytest.mark.parametrize(("side", "scale"), [(200, 1), (101, 1), (100, 2), (51, 2), (50, 4), (25, 8), (3, 8)])
def test_scales(side, scale):
    payload = encoded(smooth(400, 400))
    image, found = StillImage.open(payload).load(Resize("short", side, side).target(400, 400))
    assert found == scale
    assert image.size == (400 // scale, 400 // scale)


def test_other_formats_are_not_reduced():
    image, scale = StillImage.open(encoded(smooth(400, 400), "png")).load(Cutout(10, 10, 0, 0, 400, 400))
    assert (image.size, scale) == ((400, 400), 1)


def test_sixteen_bits_are_resized_as_such():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    image = Image.fromarray(np.tile(ramp, (32, 1)))
    small = np.asarray(resized(image, Cutout(16, 32, 0, 0, 32, 64)))
    assert small.dtype == np.uint16
    assert len(np.unique(small)) == 32  # no 8-bit steps
    np.testing.assert_allclose(small[0, 2:-2], np.linspace(0, 65535, 64).reshape(-1, 2).mean(axis=1)[2:-2], atol=3)


def test_pixels_are_bounded_before_decoding(monkeypatch):
    payload = encoded(smooth(60, 90))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5399)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(DecodeError, match="more than Pillow's limit"):
        StillImage.open(payload)


def test_jpeg_xl_is_known_by_its_jpeg():
    pytest.importorskip("imagecodecs")
    from shardpack.codecs.jxl import pack_jpeg

    payload = encoded(smooth(), orientation=8)
    still = StillImage.open(pack_jpeg(payload))
    assert still.is_jxl
    assert (still.extension, still.payload, still.orientation) == ("jpg", payload, 8)


@pytest.mark.parametrize("payload", [b"", b"%!PS-Adobe", b"\x89PNG\r\n\x1a\n", encoded(smooth(), "png")[:40]])
def test_garbage_raises(payload):
    with pytest.raises(Exception):  # noqa: B017, PT011 -- as decoders do
        StillImage.open(payload).load(Cutout(1, 1, 0, 0, 1, 1))


def test_an_orientation_out_of_range_is_upright():
    image = Image.fromarray(smooth())
    exif = Image.Exif()
    exif[0x0112] = 99
    buffer = io.BytesIO()
    image.save(buffer, "jpeg", exif=exif)
    assert StillImage.open(buffer.getvalue()).orientation == 1

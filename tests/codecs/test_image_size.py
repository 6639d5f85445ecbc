"""The size of an image by its first bytes: as Pillow says, and nothing else than our errors for garbage."""

from __future__ import annotations

import contextlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardpack.codecs.image_size import ImageSize, image_size
from shardpack.errors import DecodeError
from tests.strategies import examples

FORMATS = [("JPEG", "RGB"), ("PNG", "RGB"), ("GIF", "P"), ("WEBP", "RGB"), ("WEBP", "RGBA"), ("BMP", "RGB")]
FORMATS += [("PPM", "RGB"), ("TIFF", "RGB"), ("JPEG2000", "RGB")]


def encoded(kind, size=(17, 5), mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **options)
    return file.getvalue()


def turned(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(kind, exif=exif)


@pytest.mark.parametrize(("kind", "mode"), FORMATS)
def test_size_is_that_of_the_image(kind, mode):
    for size in [(1, 1), (17, 5), (300, 2), (2, 300)]:
        assert image_size(encoded(kind, size, mode), whole=True) == ImageSize(*size)


MODES = [("JPEG", mode) for mode in ("L", "RGB", "CMYK")] + [("GIF", "P"), ("BMP", "RGB"), ("TIFF", "L")]
MODES += [("PNG", mode) for mode in ("1", "L", "I;16", "P", "RGB", "LA", "RGBA")]


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_format_and_mode_are_what_pillow_says(kind, mode):
    content = encoded(kind, mode=mode)
    told = image_size(content, whole=True)
    assert (told.mode, told.format) == (Image.open(io.BytesIO(content)).mode, kind)


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("alpha", [0, 255, None])
def test_mode_of_webp(lossless, alpha):
    image = Image.new("RGB", (9, 5)) if alpha is None else Image.new("RGBA", (9, 5), (1, 2, 3, alpha))
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, exact=True)
    told = image_size(file.getvalue(), whole=True)
    assert (told.mode, told.format) == (Image.open(file).mode, "WEBP")


@pytest.mark.parametrize("lossless", [False, True])
def test_both_kinds_of_webp(lossless):
    assert image_size(encoded("WEBP", (300, 2), lossless=lossless), whole=True) == ImageSize(300, 2)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_the_first_bytes_are_enough(kind):
    content = encoded(kind, (640, 480), "P" if kind == "GIF" else "RGB")
    seen = [image_size(content[:stop], whole=False) for stop in range(min(len(content), 1000))]
    first = seen.index(ImageSize(640, 480))
    assert seen[:first] == [None] * first
    assert seen[first:] == [ImageSize(640, 480)] * (len(seen) - first)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_orientation_is_told(kind, orientation):
    size = image_size(turned(orientation, kind), whole=True)
    assert size == ImageSize(17, 5, orientation)
    assert size.upright == ((5, 17) if orientation > 4 else (17, 5))


def test_orientation_that_means_nothing():
    assert image_size(turned(9), whole=True) == ImageSize(17, 5, 1)


def test_rows_that_go_down():
    content = bytearray(encoded("BMP"))
    content[22:26] = (-5).to_bytes(4, "little", signed=True)
    assert image_size(bytes(content), whole=True) == ImageSize(17, 5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xd8\xff\xe0", "not an image, or one that is cut short: its 4 bytes"),
        (b"", "not an image that can be opened: UnidentifiedImageError"),
        (b"text", "not an image that can be opened: UnidentifiedImageError"),
        (b"\xff\xd8\xff\xd9", "no frame header before byte 2"),
        (b"\xff\xd8\xff\xe0\x00\x04ab?", "expected a marker at byte 8"),
        (b"\x89PNG\r\n\x1a\n" + bytes(18), "says that it has 0 x 0 pixels"),
    ],
)
def test_garbage(content, reason):
    with pytest.raises(DecodeError, match=reason):
        image_size(content, whole=True)


@pytest.mark.parametrize(("kind", "mode"), FORMATS)
def test_every_cut_is_an_error_of_ours_or_the_size(kind, mode):
    content = encoded(kind, mode=mode)
    for stop in range(len(content)):
        with contextlib.suppress(DecodeError):
            assert image_size(content[:stop], whole=True) == ImageSize(17, 5)


@examples(300)
@given(st.sampled_from([encoded(kind, mode=mode) for kind, mode in FORMATS] + [turned(6)]), st.data())
def test_every_flip_is_an_error_of_ours_or_a_size(content, data):
    damaged = bytearray(content)
    damaged[data.draw(st.integers(0, min(len(content), 200) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        size = image_size(bytes(damaged), whole=True)
    except DecodeError:
        return
    assert size.width > 0
    assert size.height > 0

"""Images from arrays and PIL: what comes back is what was given, or it was refused."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from shardpack.codecs.decode import decode_field
from shardpack.codecs.encode import encode_field, versions_for
from shardpack.errors import OptionError

random = np.random.default_rng(0)
GREY = random.integers(0, 256, (5, 7), np.uint8)
RGB = random.integers(0, 256, (5, 7, 3), np.uint8)
RGBA = random.integers(0, 256, (5, 7, 4), np.uint8)
DEEP = random.integers(0, 1 << 16, (5, 7), np.uint16)
MASK = random.integers(0, 2, (5, 7)) == 1

needs_webp = pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")


def opened(payload):
    image = Image.open(io.BytesIO(payload))
    image.load()
    return image


@pytest.mark.parametrize(
    ("field", "array", "mode"),
    [
        ("png", GREY, "L"),
        ("png", RGB, "RGB"),
        ("seg.png", RGBA, "RGBA"),
        ("depth.png", DEEP, "I;16"),
        ("depth.png", DEEP.astype(">u2"), "I;16"),
        ("mask.png", MASK, "1"),
        ("png", RGB[::-1, :, ::-1], "RGB"),
        pytest.param("webp", RGB, "RGB", marks=needs_webp),
        pytest.param("webp", RGBA, "RGBA", marks=needs_webp),
    ],
)
def test_arrays_come_back_exactly(field, array, mode):
    payload = encode_field(field, array)
    image = opened(payload)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), array)
    np.testing.assert_array_equal(np.asarray(decode_field(field, payload)), array)
    assert payload == encode_field(field, array.copy()), "the same bytes each time"


@pytest.mark.parametrize("field", ["jpg", "jpeg", "a.jfif"])
@pytest.mark.parametrize("array", [GREY, RGB])
def test_jpeg_is_of_quality_95(field, array):
    image = opened(encode_field(field, array))
    same = io.BytesIO()
    Image.fromarray(array).save(same, "JPEG", quality=95)
    assert image.quantization == opened(same.getvalue()).quantization
    assert (image.format, image.size, image.mode) == ("JPEG", (7, 5), Image.fromarray(array).mode)


@pytest.mark.parametrize(
    ("field", "array", "says"),
    [
        ("jpg", RGBA, "got an array of uint8 5 x 7 x 4; jpeg holds uint8 H x W or H x W x 3: convert the array"),
        ("jpg", DEEP, "got an array of uint16 5 x 7"),
        ("jpg", MASK, "got an array of bool 5 x 7"),
        ("webp", GREY, "got an array of uint8 5 x 7; webp holds uint8 H x W x 3"),
        ("webp", DEEP, "uint16"),
        ("png", RGB.astype(np.uint16), "got an array of uint16 5 x 7 x 3"),
        ("png", RGB.astype(np.float32), "float32 5 x 7 x 3; png holds .* or store it as npy"),
        ("png", RGB.astype(np.int64), "int64"),
        ("png", GREY[:, :, None], "5 x 7 x 1"),
        ("png", RGB.transpose(2, 0, 1)[None], "1 x 3 x 5 x 7"),
        ("png", GREY[:0], "0 x 7"),
        ("png", np.uint8(3), "without shape"),
        ("png", np.ma.masked_array(GREY, MASK), "would lose its mask"),
    ],
)
def test_arrays_that_would_change_are_refused(field, array, says):
    with pytest.raises(OptionError, match=f"field '{field}' cannot be stored: .*{says}"):
        encode_field(field, array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16", "P"])
def test_png_keeps_the_mode_of_a_pil_image(mode):
    image = Image.fromarray(DEEP) if mode == "I;16" else Image.fromarray(RGBA).convert(mode)
    found = decode_field("png", encode_field("png", image))
    assert found.mode == mode
    assert found.tobytes() == image.tobytes()
    assert found.getpalette() == image.getpalette() or mode == "P"


def test_a_palette_mask_stays_a_palette_mask():
    """Its numbers are what counts; shown as colours they would be lost."""
    mask = Image.fromarray(GREY % 4).convert("P")
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    found = decode_field("seg.png", encode_field("seg.png", mask))
    np.testing.assert_array_equal(np.asarray(found), GREY % 4)
    assert found.getpalette()[:12] == mask.getpalette()[:12]
    with pytest.raises(OptionError, match="jpeg cannot hold mode 'P' as it is"):
        encode_field("jpg", mask)


@pytest.mark.parametrize(
    ("field", "mode", "says"),
    [
        ("jpg", "RGBA", r"cannot hold mode 'RGBA' .*; drop the alpha with image.convert\(\"RGB\"\), or store a png"),
        ("jpg", "LA", "drop the alpha"),
        ("jpg", "I;16", 'more than 8 bits a pixel are kept by "png"'),
        ("jpg", "1", "convert it with"),
        ("webp", "L", "webp cannot hold mode 'L' as it is, only RGB, RGBA"),
        ("webp", "P", "convert it with"),
        ("png", "CMYK", "png cannot hold mode 'CMYK'"),
        ("png", "I", "more than 8 bits"),
        ("png", "F", "more than 8 bits"),
        ("png", "HSV", "convert it with"),
    ],
)
def test_modes_that_would_change_are_refused(field, mode, says):
    with pytest.raises(OptionError, match=says):
        encode_field(field, Image.new(mode, (5, 4)))


def test_a_transparent_colour_is_kept_by_png_and_refused_by_jpeg():
    image = Image.fromarray(RGB)
    image.info["transparency"] = (1, 2, 3)
    assert opened(encode_field("png", image)).info["transparency"] == (1, 2, 3)
    with pytest.raises(OptionError, match="transparent colour"):
        encode_field("jpg", image)


@pytest.mark.parametrize("field", ["png", "jpg", pytest.param("webp", marks=needs_webp)])
def test_profile_and_exif_stay_and_nothing_else(field):
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(RGB)
    image.info |= {"exif": exif.tobytes(), "icc_profile": profile, "comment": b"secret", "dpi": (300, 300)}
    payload = encode_field(field, image)
    found = opened(payload)
    assert found.getexif()[0x0112] == 6, "the pixels are as they were, so the turn is still to be made"
    assert found.size == (7, 5)
    assert found.info["icc_profile"] == profile
    assert b"secret" not in payload
    assert found.info.get("dpi") != (300, 300)
    assert image.info["comment"] == b"secret", "the caller's image is not touched"
    plain = opened(encode_field(field, RGB))
    assert not plain.getexif()
    assert "icc_profile" not in plain.info


def test_of_an_animation_the_current_frame_is_stored():
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    image = Image.open(io.BytesIO(buffer.getvalue()))
    image.seek(1)
    found = opened(encode_field("png", image))
    assert getattr(found, "n_frames", 1) == 1
    assert found.convert("RGB").getpixel((0, 0)) == (0, 255, 0)


def test_an_image_that_does_not_load_is_refused():
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50)).save(buffer, "JPEG")
    with pytest.raises(OptionError, match=r"'png' cannot be stored: .*truncated"):
        encode_field("png", Image.open(io.BytesIO(buffer.getvalue()[:-50])))


def test_other_formats_name_the_known_ones():
    with pytest.raises(OptionError, match=r"'tif' got an ndarray; expected bytes; values are encoded in .*png, jpg"):
        encode_field("tif", RGB)


def test_versions_that_decide_the_bytes():
    assert versions_for({"json", "npy", "cls"}) == {}
    found = versions_for({"seg.png"})
    assert found["pillow"] == Image.__version__
    assert {"jpg", "zlib"} <= found.keys()

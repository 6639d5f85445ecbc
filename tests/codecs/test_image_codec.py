"""Codecs: what each holds, what it refuses, and that the same pixels give the same bytes."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from PIL import Image, features

from shardpack.codecs.arrays import view_npy
from shardpack.codecs.image_codec import ImageCodec
from shardpack.errors import MissingDependencyError, OptionError, SourceError
from tests.codecs.photos import decoded, psnr, smooth

TEXTS = ["jpg:q=90", "jpg:q=1", "webp:q=85", "webp:lossless", "png", "avif:q=75", "npy", "npy:rgb", "jxl"]


def codec_of(text):
    needs = text.partition(":")[0]
    if needs == "jxl":
        pytest.importorskip("imagecodecs")
    if needs == "avif" and ("avif" not in features.modules or not features.check("avif")):
        pytest.skip("this Pillow has no AVIF")
    return ImageCodec.parse(text)


PIXELS = [text for text in TEXTS if text != "jxl"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_name_codecs(text):
    codec = codec_of(text)
    assert str(codec) == text
    assert ImageCodec.parse(str(codec)) == codec
    assert codec.extension == text.partition(":")[0]
    assert codec.lossy == ("q=" in text)
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert codec.describe()["codec"] == text


@pytest.mark.parametrize(("text", "usual"), [("jpg", "jpg:q=90"), ("jpeg:q=3", "jpg:q=3"), ("webp", "webp:q=85")])
def test_defaults_are_spelled_out(text, usual):
    assert str(ImageCodec.parse(text)) == usual


@pytest.mark.parametrize("text", ["", "gif", "jpg90", "jpg=90", "JPG", "q=90", "jpg:", "jpg:90", "png:level=3", None])
def test_unknown_codecs_name_the_choices(text):
    with pytest.raises(OptionError, match=r"unknown codec .*; choose one of jpg\[:q=90\], webp"):
        ImageCodec.parse(text)


@pytest.mark.parametrize(
    "text", ["jpg:q=0", "jpg:q=101", "jpg:lossless", "png:q=3", "npy:lossless", "webp:rgb", "npy:q=3", "jxl:q=90"]
)
def test_options_that_do_not_fit_are_refused(text):
    with pytest.raises(OptionError, match="an option that does not fit; choose one of"):
        ImageCodec.parse(text)


@pytest.mark.parametrize("text", PIXELS)
def test_the_same_pixels_give_the_same_bytes(text):
    codec = codec_of(text)
    image = Image.fromarray(smooth())
    assert codec.encode(image) == codec.encode(image.copy()) == codec.encode(smooth())


@pytest.mark.parametrize("text", PIXELS)
def test_pixels_come_back(text):
    codec = codec_of(text)
    pixels = smooth()
    payload = codec.encode(Image.fromarray(pixels))
    found = view_npy(payload) if codec.name == "npy" else np.asarray(decoded(payload))
    assert found.shape == pixels.shape
    if codec.lossy:
        assert psnr(found, pixels) > (30 if codec.quality > 1 else 15)
    else:
        np.testing.assert_array_equal(found, pixels)


def test_quality_is_used():
    image = Image.fromarray(smooth() ^ np.random.default_rng(0).integers(0, 32, (60, 90, 3), np.uint8))
    for name in ("jpg", "webp"):
        sizes = [len(ImageCodec.parse(f"{name}:q={quality}").encode(image)) for quality in (10, 50, 95)]
        assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("text", "mode", "held"),
    [
        ("jpg", "L", "L"),
        ("jpg", "LA", "L"),
        ("jpg", "RGBX", "RGB"),
        ("jpg", "RGBA", "RGB"),
        ("webp:lossless", "RGBA", "RGBA"),
        ("webp:lossless", "L", "RGB"),
        ("webp:lossless", "LA", "RGBA"),
        ("avif", "RGBA", "RGBA"),
        ("avif", "L", "RGB"),
        ("png", "L", "L"),
        ("png", "LA", "LA"),
        ("png", "1", "1"),
        ("png", "P", "P"),
        ("png", "RGBX", "RGB"),
        ("png", "RGBA", "RGBA"),
        ("png", "I;16", "I;16"),
    ],
)
def test_modes(text, mode, held):
    codec = codec_of(text)
    found = decoded(codec.encode(Image.new(mode, (8, 6))))
    also = {("avif", "L"): "L", ("png", "I;16"): "I"}.get((text, mode))  # as other versions of Pillow read them
    assert found.mode in {held, also}
    assert found.size == (8, 6)


@pytest.mark.parametrize(
    ("text", "mode", "shape", "dtype"),
    [
        ("npy", "L", (6, 8), np.uint8),
        ("npy", "RGBX", (6, 8, 3), np.uint8),
        ("npy", "RGBA", (6, 8, 4), np.uint8),
        ("npy", "LA", (6, 8, 4), np.uint8),
        ("npy", "I;16", (6, 8), np.uint16),
        ("npy", "I", (6, 8), np.int32),
        ("npy", "F", (6, 8), np.float32),
        *[("npy:rgb", mode, (6, 8, 3), np.uint8) for mode in ("L", "LA", "RGB", "RGBX", "RGBA")],
    ],
)
def test_arrays(text, mode, shape, dtype):
    array = view_npy(ImageCodec.parse(text).encode(Image.new(mode, (8, 6))))
    assert (array.shape, array.dtype) == (shape, dtype)


def test_transparent_pixels():
    clear = Image.new("RGBA", (8, 6), (90, 0, 0, 0))
    assert (view_npy(ImageCodec.parse("npy:rgb").encode(clear)) == 255).all()
    assert (np.asarray(decoded(ImageCodec.parse("jpg").encode(clear))) > 250).all()
    assert decoded(ImageCodec.parse("webp:lossless").encode(clear)).getpixel((0, 0)) == (90, 0, 0, 0)


@pytest.mark.parametrize("text", ["jpg", "webp", "webp:lossless", "avif", "npy:rgb"])
def test_sixteen_bits_never_become_eight(text):
    with pytest.raises(SourceError, match=r"'I;16' have more than 8 bits, which .* would lose; png and npy hold 16"):
        codec_of(text).encode(Image.new("I;16", (8, 6)))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_range_are_for_npy(mode):
    with pytest.raises(SourceError, match="would lose; npy holds them"):
        ImageCodec.parse("png").encode(Image.new(mode, (8, 6)))


@pytest.mark.parametrize("text", PIXELS)
def test_metadata_is_not_stored(text):
    codec = codec_of(text)
    image = Image.fromarray(smooth())
    plain = codec.encode(image)
    image.info = {"icc_profile": b"profile", "exif": b"Exif\0\0", "comment": b"here", "dpi": (300, 300)}
    assert codec.encode(image) == plain


def test_a_transparent_colour_of_a_palette_stays():
    image = Image.new("P", (8, 6), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.info = {"transparency": 1}
    assert decoded(ImageCodec.parse("png").encode(image)).info["transparency"] == 1


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "shardpack\[jxl\]"'):
        ImageCodec.parse("jxl")
    monkeypatch.delitem(features.modules, "avif", raising=False)
    with pytest.raises(MissingDependencyError, match=r"pillow>=11\.3"):
        ImageCodec.parse("avif")

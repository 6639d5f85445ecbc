"""Payloads to values, by name; nothing here runs code or raises but DecodeError."""

from __future__ import annotations

import io
import pickle
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from shardpack.codecs import decode
from shardpack.codecs.decode import decode_field
from shardpack.errors import DecodeError
from tests.conftest import make_jpeg

KINDS = ["json", "txt", "cls", "npy", "jpg", "png", "webp", "tif", "gif", "bmp", "seg.png", "a.b.json"]


def saved(kind, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, (5, 4), 1).save(buffer, kind, **options)
    return buffer.getvalue()


@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_garbage_decodes_or_raises_decode_error(field, payload):
    with suppress(DecodeError):
        decode_field(field, payload)


def test_the_error_names_field_and_cause():
    with pytest.raises(
        DecodeError, match=r"^field 'a.json' does not decode as json: JSONDecodeError: .*\(char 0\); look"
    ) as got:
        decode_field("a.json", b"x")
    assert isinstance(got.value.__cause__, ValueError)


@given(st.sampled_from(["pkl", "pth", "bin", "pyd", "x.pickle", "jpg.bak", ""]), st.binary(max_size=50))
def test_other_fields_stay_bytes(field, payload):
    assert decode_field(field, payload) is payload


def test_pickles_stay_bytes():
    payload = pickle.dumps(print)
    assert decode_field("pkl", payload) is payload
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object), allow_pickle=True)
    with pytest.raises(DecodeError, match="allow_pickle"):
        decode_field("npy", buffer.getvalue())


def test_labels():
    assert decode_field("json", b' {"label": 3}\n') == {"label": 3}
    assert decode_field("a.b.json", b"[1]") == [1]
    assert decode_field("cls", b"7\n") == 7
    assert decode_field("txt", "é".encode()) == "é"


@given(st.sampled_from(["u1", "<f4", ">i8", "?"]), st.lists(st.integers(0, 1), max_size=9))
def test_arrays(dtype, values):
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype))
    found = decode_field("npy", buffer.getvalue())
    assert found.dtype == np.dtype(dtype)
    assert found.tolist() == values


@pytest.mark.parametrize(
    ("field", "kind", "mode"),
    [
        ("jpg", "JPEG", "L"),
        ("jpeg", "JPEG", "CMYK"),
        ("png", "PNG", "RGBA"),
        ("seg.png", "PNG", "P"),
        ("png", "PNG", "I;16"),
        ("tif", "TIFF", "F"),
        ("bmp", "BMP", "RGB"),
        ("ppm", "PPM", "RGB"),
    ],
)
def test_images_keep_their_mode(field, kind, mode):
    image = decode_field(field, saved(kind, mode))
    assert (image.mode, image.size, image.format) == (mode, (5, 4), kind)
    assert image.getpixel((0, 0)) is not None  # loaded: needs no file any more


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
def test_webp():
    assert decode_field("webp", saved("WEBP")).size == (5, 4)


def test_orientation_is_not_applied():
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right
    Image.new("RGB", (5, 4)).save(buffer, "JPEG", exif=exif)
    assert decode_field("jpg", buffer.getvalue()).size == (5, 4)


def test_the_bytes_decide_the_format():
    assert decode_field("jpg", saved("PNG")).format == "PNG"


def test_no_other_format_is_tried(monkeypatch):
    """A PostScript file in disguise would start Ghostscript."""
    asked = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, formats, **k: asked.extend(formats) or real(*a, formats=formats, **k))
    with pytest.raises(DecodeError, match="UnidentifiedImageError"):
        decode_field("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert not {"EPS", "WMF", "PDF", "PSD"} & set(asked)
    assert {"JPEG", "PNG", "TIFF"} <= set(asked)


def test_a_truncated_image_is_an_error():
    with pytest.raises(DecodeError, match=r"'jpg'.*truncated.*shardpack cat"):
        decode_field("jpg", make_jpeg()[:-200])


def test_decoders_are_for_the_last_part_of_a_name():
    assert all("." not in kind and kind.islower() for kind in decode._DECODERS)

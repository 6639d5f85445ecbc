"""Payloads to values, by name; nothing here runs code or raises but DecodeError."""

from __future__ import annotations

import gzip
import io
import sys
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from shardpack.codecs import decode
from shardpack.codecs.arrays import encode_npy
from shardpack.codecs.decode import can_decode, decode_field, field_decoders, needs_frame
from shardpack.codecs.image import ImageOptions
from shardpack.codecs.zstd import zstandard
from shardpack.errors import DecodeError, MissingDependencyError, OptionError
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


@given(
    st.sampled_from(["pkl", "pth", "bin", "pyd", "x.pickle", "jpg.bak", "nii.gz", "zst", ""]), st.binary(max_size=50)
)
def test_other_fields_say_that_nothing_decodes_them(field, payload):
    assert not can_decode(field)
    with pytest.raises(DecodeError, match=r"has no decoder, which exist for json, .*; its stored bytes are sample\["):
        decode_field(field, payload)


@pytest.mark.parametrize("field", [*KINDS, "npz", "msgpack", "json.zst", "a.npy.gz", "png.zst"])
def test_what_can_be_decoded(field):
    assert can_decode(field)


def test_compressed_fields_are_decompressed():
    payload = gzip.compress(b'{"label": 3}')
    assert decode_field("json.gz", payload) == {"label": 3}
    assert decode_field("png.gz", gzip.compress(saved("PNG"))).size == (5, 4)
    with pytest.raises(DecodeError, match=r"'a.json.gz' does not decode as json.gz: .*look at it"):
        decode_field("a.json.gz", b'{"label": 3}')


def test_the_lack_of_a_library_is_no_fault_of_the_payload(monkeypatch):
    zstandard.cache_clear()
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match="zstd"):
        decode_field("json.zst", b"")
    with pytest.raises(MissingDependencyError, match="zstd"):
        field_decoders(["json.zst"], "rgb8", ImageOptions())
    assert not field_decoders(["json.zst"], None, ImageOptions()), "not decoded, so not needed"


def test_decoders_of_a_loader_decompress_too():
    decoders = field_decoders(["json.gz", "png.gz", "npy.gz", "bin.gz"], "l8", ImageOptions())
    assert sorted(decoders) == ["json.gz", "npy.gz", "png.gz"]
    assert decoders["json.gz"](gzip.compress(b"[1]")) == [1]
    assert decoders["png.gz"](gzip.compress(saved("PNG", "L"))).tolist() == [[1] * 5] * 4
    assert decoders["npy.gz"](gzip.compress(encode_npy(np.arange(3)))).tolist() == [0, 1, 2]
    with pytest.raises(DecodeError, match=r"'png.gz' does not decode as l8"):
        decoders["png.gz"](saved("PNG", "L"))
    stored = field_decoders(["json.gz"], {"json.gz": len}, ImageOptions())
    assert stored["json.gz"](b"1234") == 4, "a function gets the stored bytes"


def test_arrays_of_a_loader_are_writable_copies_or_rows():
    decode = field_decoders(["npy"], "rgb8", ImageOptions())["npy"]
    array = np.arange(6, dtype=">i2").reshape(2, 3)
    payload = encode_npy(array)
    found = decode(payload)
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)
    rows = decode.out_rows(2, payload)
    assert (rows.shape, rows.dtype) == ((2, 2, 3), np.dtype("i2"))
    assert decode(payload, rows[1]).base is rows
    np.testing.assert_array_equal(rows[1], array)
    other = decode(encode_npy(np.zeros(4)), rows[0])
    assert (other.shape, other.base) == ((4,), None), "another shape has memory of its own"
    assert decode.out_rows(2, b"garbage") is None


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
    with pytest.raises(DecodeError, match="Pillow knows no image"):
        decode_field("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    assert not {"EPS", "WMF", "PDF", "PSD"} & set(asked)
    assert {"JPEG", "PNG", "TIFF"} <= set(asked)


def test_a_truncated_image_is_an_error():
    with pytest.raises(DecodeError, match=r"'jpg'.*truncated.*shardpack cat"):
        decode_field("jpg", make_jpeg()[:-200])


def test_decoders_are_for_the_last_part_of_a_name():
    assert all("." not in kind and kind.islower() for kind in decode._DECODERS)


def test_labels_ask_for_a_frame_where_images_move():
    def asked(fields, **options):
        images = ImageOptions(**options)
        return needs_frame(field_decoders(fields, "rgb8", images), images)

    assert asked(["jpg", "json"], size=8)
    assert asked(["jpg", "npy"], exif_transpose=True)
    assert asked(["jpg"], flip=0.5)
    for fields, options in ((["jpg"], {"size": 8}), (["json"], {"size": 8}), (["jpg", "json"], {"min_size": 8})):
        assert not asked(fields, **options)


def test_a_size_without_decoding_is_refused():
    with pytest.raises(OptionError, match="size is for images that are decoded by name"):
        field_decoders(["jpg", "json"], None, ImageOptions(size=8))
    assert field_decoders(["jpg", "json"], None, ImageOptions(min_size=8)) == {}

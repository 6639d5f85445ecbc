"""JPEGs as JPEG XL: the very bytes come back."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from shardpack.codecs.decode import decode_field
from shardpack.codecs.jxl import is_jxl, jxl_size, jxl_versions, pack_jpeg, restore_jpeg
from shardpack.errors import DecodeError, MissingDependencyError
from tests.codecs.photos import decoded, encoded, smooth

imagecodecs = pytest.importorskip("imagecodecs")

JPEGS = {
    "colour": encoded(smooth()),
    "progressive": encoded(smooth(), progressive=True),
    "without subsampling": encoded(smooth(), subsampling="4:4:4"),
    "grey": encoded(smooth(240, 360, channels=1)),
    "turned": encoded(smooth(), orientation=6),
    "bytes behind its end": encoded(smooth()) + b"more",
}


@pytest.mark.parametrize("name", JPEGS)
def test_the_very_jpeg_comes_back(name):
    payload = JPEGS[name]
    packed = pack_jpeg(payload)
    assert packed is not None
    assert is_jxl(packed)
    assert len(packed) < len(payload)
    assert restore_jpeg(packed) == payload
    assert packed == pack_jpeg(payload)  # the same bytes each time


@pytest.mark.parametrize("payload", [b"", b"\xff\xd8\xff\xe0", JPEGS["colour"][:300], encoded(smooth(), "png")])
def test_what_would_not_come_back_is_not_packed(payload):
    assert pack_jpeg(payload) is None


def test_damage_and_other_jpeg_xl_are_refused():
    packed = pack_jpeg(JPEGS["colour"])
    with pytest.raises(DecodeError, match="damaged, or was not made from a JPEG"):
        restore_jpeg(packed[:200])
    with pytest.raises(DecodeError, match="damaged, or was not made from a JPEG"):
        restore_jpeg(imagecodecs.jpegxl_encode(smooth()))


@pytest.mark.parametrize(
    "size", [(200, 300), (8, 16), (256, 256), (240, 320), (9, 16), (225, 400), (100, 77), (1, 1), (600, 5), (8200, 8)]
)
def test_sizes_are_read_from_headers(size):
    assert jxl_size(pack_jpeg(encoded(smooth(*size)))) == size
    for usecontainer in (False, True):
        assert jxl_size(imagecodecs.jpegxl_encode(smooth(*size), usecontainer=usecontainer)) == size


def test_pixels_are_bounded_before_anything_is_decoded(monkeypatch):
    small = pack_jpeg(encoded(Image.new("L", (3000, 2000))))
    assert len(small) < 3000
    monkeypatch.setattr(imagecodecs, "jpegxl_decode_jpeg", None)
    with pytest.raises(DecodeError, match="has 3000 x 2000 pixels, more than 5999999"):
        restore_jpeg(small, 5_999_999)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_999_999)
    with pytest.raises(DecodeError, match="has 3000 x 2000 pixels"):
        decode_field("jxl", small)


@pytest.mark.parametrize("cut", range(13, 60))
def test_headers_that_are_cut_short_are_refused(cut):
    packed = pack_jpeg(JPEGS["colour"])[:cut]
    with pytest.raises(DecodeError):
        restore_jpeg(packed)


def test_samples_decode():
    image = decode_field("jxl", pack_jpeg(JPEGS["colour"]))
    assert isinstance(image, Image.Image)
    assert image.tobytes() == decoded(JPEGS["colour"]).tobytes()


def test_versions():
    assert set(jxl_versions()) == {"imagecodecs", "libjxl"}


def test_the_extra_is_named(monkeypatch):
    packed = pack_jpeg(JPEGS["colour"])
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "shardpack\[jxl\]"'):
        decode_field("jxl", packed)

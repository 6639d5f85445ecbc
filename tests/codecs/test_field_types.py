"""What field names say: which are images, how those begin, what JSON is."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from shardpack.codecs.field_types import (
    SIGNATURE_BYTES,
    SIGNATURES,
    is_image,
    parse_json,
    signature_problem,
)
from shardpack.codecs.image import decode_problem
from shardpack.errors import DecodeError
from tests.conftest import make_jpeg


def saved(kind):
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("field", ["jpg", "seg.png", "a.b.webp", "tiff"])
def test_images_by_name(field):
    assert is_image(field)


@pytest.mark.parametrize("field", ["json", "jpg.txt", "npy", "", "JPG"])
def test_others_by_name(field):
    assert not is_image(field)


@pytest.mark.parametrize(
    ("field", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("gif", "GIF"), ("bmp", "BMP"), ("tif", "TIFF")]
)
def test_images_have_the_signature_of_their_name(field, kind):
    payload = saved(kind)
    assert signature_problem(f"x.{field}", payload[:SIGNATURE_BYTES]) is None
    assert decode_problem(field, payload) is None
    others = [name for name in SIGNATURES if signature_problem(name, payload[:SIGNATURE_BYTES]) is None]
    assert "webp" not in others
    assert "heic" not in others


def test_what_is_wrong_with_an_image():
    assert signature_problem("jpg", b"") == "an empty image"
    assert signature_problem("jpg", saved("PNG")[:12]) == "does not begin like a jpg image, but like a png"
    assert signature_problem("json", b"") is None
    assert "does not decode" in (decode_problem("jpg", make_jpeg()[:-200]) or "")
    assert "knows no png" in (decode_problem("png", make_jpeg()) or "")
    assert decode_problem("txt", b"anything") is None


@pytest.mark.parametrize(("payload", "value"), [(b"{}", {}), (b' [1, "\xc3\xa9"]', [1, "é"]), (b"null", None)])
def test_json(payload, value):
    assert parse_json(payload) == value


@pytest.mark.parametrize(
    ("payload", "match"),
    [(b"", "not JSON"), (b"\xff", "not UTF-8 at byte 0"), (b"NaN", "not a JSON number"), (b"[" * 100_000, "not JSON")],
)
def test_texts_that_are_not_json_are_refused(payload, match):
    with pytest.raises(DecodeError, match=match):
        parse_json(payload)

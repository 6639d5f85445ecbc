"""Caffe's Datum, by its field numbers and wire types."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from shardpack.sources.formats.caffe_datum import parse_datum
from tests.strategies import damaged

PIXELS = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)  # height, width, RGB
SHAPE = b"\x08\x03\x10\x02\x18\x04"


def bytes_field(number, data):
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


RAW = SHAPE + bytes_field(4, PIXELS[:, :, ::-1].transpose(2, 0, 1).tobytes()) + b"\x28\x07"


def test_raw_pixels_come_back_as_rgb():
    columns = parse_datum(RAW)
    assert (columns["image"] == PIXELS).all()
    assert columns["label"] == 7


def test_grey_encoded_and_floats():
    grey = parse_datum(b"\x08\x01\x10\x02\x18\x02" + bytes_field(4, b"abcd"))
    assert grey["image"].tolist() == [[97, 98], [99, 100]]
    assert parse_datum(bytes_field(4, b"\xff\xd8\xff") + b"\x38\x01\x28" + b"\xff" * 9 + b"\x01") == {
        "image": b"\xff\xd8\xff",
        "label": -1,
    }
    for floats in (b"\x35\0\0\x80\x3f\x35\0\0\0\x40", bytes_field(6, b"\0\0\x80\x3f\0\0\0\x40")):  # one by one, packed
        assert parse_datum(b"\x08\x02\x10\x01\x18\x01" + floats)["features"].ravel().tolist() == [1, 2]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"text",
        SHAPE,
        SHAPE + bytes_field(4, b"short"),
        RAW + b"\x40\x01",  # an unknown field
        RAW[:-1],
        b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x38\x01",
    ],
)
def test_anything_else_is_none(message):
    assert parse_datum(message) is None


@given(damaged(RAW))
def test_damage_raises_nothing(message):
    parse_datum(message)

"""What a .beton file says of itself, and the values of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.beton_file import ARRAY, BYTES, FLOAT, IMAGE, INT, JSON, BetonReader, read_beton
from shardpack.storage.memory import MemoryStore
from tests.sources.formats.betons import beton

ALL = [("image", IMAGE), ("n", INT), ("x", FLOAT), ("raw", BYTES), ("v", ARRAY), ("info", JSON)]
ROW = {
    "image": b"jpeg",
    "n": -3,
    "x": 0.5,
    "raw": b"any",
    "v": np.arange(6, dtype="<f4").reshape(2, 3),
    "info": {"a": 1},
}


def reader_of(data):
    store = MemoryStore({"x": data})
    found = read_beton(store, "x")
    return found, BetonReader(store, found)


def test_every_kind_of_field():
    found, reader = reader_of(beton([ROW], ALL))
    # As FFCV lays out image, int, float, bytes, array and JSON.
    assert [found.row_type.fields[f"f{i}"][1] for i in range(6)] == [0, 16, 24, 32, 48, 56]
    assert found.row_type.itemsize == 72
    (row,) = reader.rows(0, 1)
    values = [reader.value(row, number) for number in range(6)]
    assert values[:4] == [b"jpeg", -3, 0.5, b"any"]
    np.testing.assert_array_equal(values[4], ROW["v"])
    assert values[5] == {"a": 1}


def test_raw_pixels():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    _, reader = reader_of(beton([{"image": pixels, "label": 1}]))
    (row,) = reader.rows(0, 1)
    np.testing.assert_array_equal(reader.value(row, 0), pixels)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:10], "10 bytes, expected at least the 24"),
        (lambda data: b"\1\0" + data[2:], "version 1 of .beton, expected 2"),
        (lambda data: data[:2] + b"\0\0" + data[4:], "0 fields"),
        (lambda data: data[:2] + b"\xff\0" + data[4:], "255 fields"),
        (lambda data: data[:8] + b"\xff" * 8 + data[16:], "18446744073709551615 rows"),
        (lambda data: data[:16] + b"\xff" * 8 + data[24:], "allocations at 18446744073709551615"),
        (lambda data: data[:24] + b"\xff" + data[25:], "a field of type 255"),
        (lambda data: data + b"x", "expected a multiple of 24"),
    ],
)
def test_damage_is_named(change, says):
    with pytest.raises(SourceError, match=says):
        reader_of(change(beton([{"image": b"jpeg", "label": 1}])))


def test_pointers_are_checked():
    _, reader = reader_of(beton([{"image": b"jpeg", "label": 1}]))
    row = reader.rows(0, 1).copy()
    row["f0"]["data"] = 7
    with pytest.raises(DecodeError, match="no data is allocated at byte 7"):
        reader.value(row[0], 0)
    row["f0"]["mode"], row["f0"]["height"], row["f0"]["width"] = 1, 65535, 65535
    with pytest.raises(DecodeError, match="would be behind the data"):
        reader.value(row[0], 0)
    row["f0"]["mode"] = 2
    with pytest.raises(DecodeError, match="an image of mode 2"):
        reader.value(row[0], 0)

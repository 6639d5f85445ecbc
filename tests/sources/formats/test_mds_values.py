"""Values of MDS: what each encoding holds, and only DecodeError for others."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.mds_values import decoder_of, has_raw_pixels

ALL = ("bytes", "str", "json", "int", "float16", "uint8", "str_int", "str_float", "str_decimal", "ndarray",
       "ndarray:int16", "ndarray:uint8:2,2", "pil", "jpeg_array", "list[jpeg]", "list[pil]")  # fmt: skip


def test_arrays_say_their_dtype_and_shape_as_far_as_these_are_not_fixed():
    np.testing.assert_array_equal(
        decoder_of("ndarray")(b"\x22\x04\x03" + struct.pack("<3f", 0, 1, 2)), np.arange(3, dtype="f4")
    )
    np.testing.assert_array_equal(decoder_of("ndarray:int16")(b"\x05\x02\x00\x01\x00\x02\x00"), [1, 2])
    np.testing.assert_array_equal(decoder_of("ndarray:uint8:2,2")(b"\1\2\3\4"), [[1, 2], [3, 4]])


def test_lists_hold_values_of_one_encoding():
    assert decoder_of("list[jpeg]")(struct.pack("<4I", 0, 2, 1, 2) + b"abb") == [b"a", b"bb"]
    assert decoder_of("jpeg_array")(struct.pack("<2I", 1, 2) + b"bb") == [b"bb"]


def test_raw_pixels():
    pixels = decoder_of("pil")(struct.pack("<3I", 3, 2, 3) + b"RGB" + bytes(range(18)))
    assert pixels.shape == (2, 3, 3)
    assert has_raw_pixels("pil")
    assert not has_raw_pixels("png")
    with pytest.raises(DecodeError, match="mode 'P'"):
        decoder_of("pil")(struct.pack("<3I", 1, 1, 1) + b"P\0")


@pytest.mark.parametrize("encoding", ["", "pickle", "ndarray:object", "ndarray:uint8:a", "list[int]"])
def test_others_are_refused(encoding):
    with pytest.raises(SourceError, match="is not one of MDS"):
        decoder_of(encoding)


def test_pickle_is_refused():
    with pytest.raises(SourceError, match="may run any code"):
        decoder_of("pkl")


@pytest.mark.parametrize("encoding", ALL)
@given(st.binary(max_size=60))
def test_garbage_raises_nothing_else(encoding, data):
    try:
        decoder_of(encoding)(data)
    except DecodeError:
        return

"""Values of MosaicML's MDS shards by the names of their encodings. Pure.

bytes str json jpeg png     as they are             int float64 ...     little-endian numbers of fixed length
str_int str_float           decimal texts           ndarray[:dtype[:shape]]     [dtype] [rank and width, shape] data
pil                         width, height, length of mode, mode, raw pixels
jpeg_array list[jpeg] ...   lengths, then as many encoded values
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from shardpack.errors import DecodeError, SourceError
from shardpack.runtime.words import with_article

_SCALARS = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
# Codes of dtypes and of the integers that hold a shape, as MDS writes them.
_DTYPES = {8: "uint8", 9: "int8", 16: "uint16", 17: "int16", 18: "float16", 32: "uint32", 33: "int32", 34: "float32",
           64: "uint64", 65: "int64", 66: "float64"}  # fmt: skip
_SHAPES = ("<u1", "<u2", "<u4", "<u8")
_CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}
_TEXTS = ("str", "str_decimal")
_BYTES = ("bytes", "jpeg", "png")
_LISTS = {"list[jpeg]": "jpeg", "list[png]": "png", "list[pil]": "pil"}
_JPEG_ARRAYS = ("jpeg_array", "jpegarray")
PICKLE = "pkl"

Decode = Callable[[bytes], Any]


def decoder_of(encoding: str) -> Decode:
    """Return the function that decodes values of an encoding; it raises DecodeError for others.

    Raises:
        SourceError: It is not an encoding of MDS, or it is pickle.
    """
    name, _, more = encoding.partition(":")
    if name == PICKLE:
        raise SourceError(
            "it is pickled, and to read a pickle may run any code; write the dataset again with another encoding"
        )
    if name == "ndarray":
        return _arrays(more)
    if name in _LISTS:
        return _lists(decoder_of(_LISTS[name]), head_bytes=4)
    if name in _JPEG_ARRAYS:
        return _lists(bytes, head_bytes=0)
    if name in _BYTES:
        return bytes
    if name == "int":
        name = "int64"
    if name in _SCALARS:
        return _scalars(np.dtype(name))
    found: Decode | None = {"json": _json, "pil": _pil, "str_int": _number(int), "str_float": _number(float)}.get(name)
    found = _text if name in _TEXTS else found
    if found is None:
        raise SourceError(f"encoding {encoding!r} is not one of MDS")
    return found


def has_raw_pixels(encoding: str) -> bool:
    """Return whether values of an encoding are raw pixels."""
    return encoding in ("pil", "list[pil]")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8 at byte {error.start}") from error


def _json(data: bytes) -> Any:
    try:
        return json.loads(_text(data))
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from error


def _number(kind: Callable[[str], Any]) -> Decode:
    def decode(data: bytes) -> Any:
        try:
            return kind(_text(data[:400]))
        except ValueError as error:
            raise DecodeError(f"not a number: {data[:40]!r}") from error

    return decode


def _scalars(dtype: np.dtype[Any]) -> Decode:
    def decode(data: bytes) -> Any:
        if len(data) != dtype.itemsize:
            raise DecodeError(f"{len(data)} bytes, expected {dtype.itemsize} of {with_article(str(dtype))}")
        return np.frombuffer(data, dtype)[0].item()

    return decode


def _lists(decode: Decode, *, head_bytes: int) -> Decode:
    def decode_all(data: bytes) -> list[Any]:
        begin = head_bytes + 4
        count = int.from_bytes(data[head_bytes:begin], "little") if len(data) >= begin else -1
        if count < 0 or begin + 4 * count > len(data):
            raise DecodeError(f"a list of {count} values in {len(data)} bytes")
        lengths = struct.unpack_from(f"<{count}I", data, begin)
        at = begin + 4 * count
        if at + sum(lengths) != len(data):
            raise DecodeError(f"a list of {sum(lengths)} bytes in {len(data) - at}")
        values = []
        for length in lengths:
            values.append(decode(data[at : at + length]))
            at += length
        return values

    return decode_all


def _pil(data: bytes) -> Any:
    if len(data) < 12:
        raise DecodeError(f"{len(data)} bytes, expected at least the 12 of a size")
    width, height, length = struct.unpack_from("<3I", data)
    mode = data[12 : 12 + length].decode("latin-1") if length <= 8 else ""
    if mode not in _CHANNELS:
        raise DecodeError(f"pixels of mode {mode!r}, expected one of {', '.join(_CHANNELS)}")
    shape = (height, width, *_CHANNELS[mode])
    return _array(np.dtype(np.uint8), shape, data[12 + length :])


def _arrays(described: str) -> Decode:
    name, _, sides = described.partition(":")
    try:
        dtype = np.dtype(name) if name else None
        shape = tuple(map(int, sides.split(","))) if sides else None
    except (TypeError, ValueError) as error:
        raise SourceError(f"encoding 'ndarray:{described}' is not one of MDS") from error
    if name and name not in _SCALARS:
        raise SourceError(f"encoding 'ndarray:{described}' is not one of MDS")

    def decode(data: bytes) -> Any:
        found, at = dtype, 0
        if found is None:
            if not data or data[0] not in _DTYPES:
                raise DecodeError(f"an array of the unknown dtype {data[:1].hex()}")
            found, at = np.dtype(_DTYPES[data[0]]), 1
        if shape is not None:
            return _array(found, shape, data[at:])
        if len(data) <= at:
            raise DecodeError("an array without a shape")
        rank, width = data[at] >> 2, np.dtype(_SHAPES[data[at] & 3])
        end = at + 1 + rank * width.itemsize
        if end > len(data):
            raise DecodeError(f"an array of {rank} dimensions in {len(data)} bytes")
        return _array(found, tuple(np.frombuffer(data[at + 1 : end], width).tolist()), data[end:])

    return decode


def _array(dtype: np.dtype[Any], shape: tuple[int, ...], data: bytes) -> Any:
    num_bytes = dtype.itemsize
    for side in shape:
        num_bytes *= side
    if num_bytes != len(data) or len(shape) > 32:
        raise DecodeError(f"an array of shape {shape} takes {num_bytes} bytes of {dtype}, got {len(data)}")
    return np.frombuffer(data, dtype).reshape(shape)

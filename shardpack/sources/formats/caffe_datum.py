"""Caffe's Datum: one image and its label as a protobuf message, read by hand.

1 channels, 2 height, 3 width    lengths
4 data                           an encoded image if `encoded`, else uint8 of channels x height x width, BGR
5 label                          a number
6 float_data                     float32 of channels x height x width
7 encoded                        whether `data` is an encoded image
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_NUMBERS = {1: "channels", 2: "height", 3: "width", 5: "label", 7: "encoded"}
_DATA, _FLOATS = 4, 6
_VARINT, _BYTES, _FIXED32 = 0, 2, 5
_MAX_VARINT_BYTES = 10


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """The bytes are not a Datum."""


def parse_datum(message: bytes) -> dict[str, Any] | None:
    """Return the columns of a Datum: "image" (bytes, or an array of RGB or grey), or "features"; and "label".

    None if the bytes are something else: another field is there, or lengths do not fit.
    """
    numbers: dict[str, int] = {}
    data: bytes | None = None
    floats: list[bytes] = []
    try:
        for field, wire, value in _fields(message):
            if field in _NUMBERS and wire == _VARINT:
                numbers[_NUMBERS[field]] = value
            elif field == _DATA and wire == _BYTES:
                data = value
            elif field == _FLOATS and wire in (_BYTES, _FIXED32):
                floats.append(value)
            else:
                return None
    except _Damaged:
        return None
    columns = _image(numbers, data, b"".join(floats))
    if columns is not None and "label" in numbers:
        label = numbers["label"]
        columns["label"] = label - (1 << 64) if label >> 63 else label
    return columns


def _image(numbers: dict[str, int], data: bytes | None, floats: bytes) -> dict[str, Any] | None:
    if numbers.get("encoded"):
        return {"image": data} if data else None
    shape = tuple(numbers.get(name, 0) for name in ("channels", "height", "width"))
    count = shape[0] * shape[1] * shape[2]
    if data and not floats and len(data) == count:
        pixels = np.frombuffer(data, np.uint8).reshape(shape)
        if shape[0] == 1:
            return {"image": pixels[0]}
        # Blue comes first, as in OpenCV.
        return {"image": np.ascontiguousarray((pixels[::-1] if shape[0] == 3 else pixels).transpose(1, 2, 0))}
    if floats and not data and len(floats) == 4 * count:
        return {"features": np.frombuffer(floats, "<f4").reshape(shape)}
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int, Any]]:
    """Yield (number, wire type, value) of the fields of a message."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield field, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire == _FIXED32:
            length = 4
        else:
            raise _Damaged
        if length > len(message) - at:
            raise _Damaged
        yield field, wire, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(message[at : at + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + shift + 1
    raise _Damaged

"""tf.train.Example and SequenceExample as bytes and values, without protobuf. Pure.

    Example          { 1: Features }                     Features     { 1: map entry { 1: name, 2: Feature } } ...
    SequenceExample  { 1: Features, 2: FeatureLists }    FeatureLists { 1: map entry { 1: name, 2: FeatureList } } ...
    Feature          { 1: BytesList | 2: FloatList | 3: Int64List }, each { 1: values }
    FeatureList      { 1: Feature } ...

Wire format of protobuf: a field is a varint `number << 3 | type`; type 0 is a varint, 1 and 5 are eight and four bytes,
2 is a length and so many bytes. Numbers may be packed (type 2) or not. Unknown fields are passed over, and of a name
that comes twice the last one counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shardpack.errors import DecodeError

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
_SIGN, _MODULUS = 1 << 63, 1 << 64

Feature = list[bytes] | list[float] | list[int]


def decode_example(data: bytes | memoryview) -> dict[str, Any]:
    """Return the features of an Example: name -> list of bytes, floats or integers; of a sequence, lists of them.

    Raises:
        DecodeError: The data is neither; says at which byte.
    """
    view = memoryview(data)
    found: dict[str, Any] = {}
    for number, kind, start, stop in _fields(view, 0, len(view)):
        if kind != _BYTES or number not in (1, 2):
            raise DecodeError(f"not a tf.train.Example: field {number} of type {kind} at byte {start}")
        for entry_start, entry_stop in _each(view, 1, start, stop):
            name, value_start, value_stop = _entry(view, entry_start, entry_stop)
            if number == 1:
                found[name] = _feature(view, value_start, value_stop)
            else:
                features = _each(view, 1, value_start, value_stop)
                found[name] = [_feature(view, first, last) for first, last in features]
    return found


def encode_example(features: Mapping[str, Any]) -> bytes:
    """Return an Example, the features sorted by name, as deterministic serialization of protobuf writes it.

    Args:
        features: Name -> bytes, text, float, integer, or a list of one of these kinds.

    Raises:
        DecodeError: A value is of another kind, or an integer takes more than 64 bits.
    """
    entries: list[bytes] = []
    for name in sorted(features):
        feature = _encode_feature(name, features[name])
        entries += _tagged(1, [*_tagged(1, [name.encode()]), *_tagged(2, feature)])
    return b"".join(_tagged(1, entries))  # the only copy of a payload


def _encode_feature(name: str, value: Any) -> list[bytes]:
    values: Sequence[Any] = value if isinstance(value, (list, tuple)) else [value]
    kinds = {
        bytes if isinstance(one, (bytes, str)) else float if isinstance(one, float) else type(one) for one in values
    }
    if kinds == {int, float}:
        kinds = {float}
    if not kinds:
        return []
    if kinds == {bytes}:
        texts = (one.encode() if isinstance(one, str) else one for one in values)
        return _tagged(1, [part for text in texts for part in _tagged(1, [text])])
    if kinds == {float}:
        try:
            return _tagged(2, _tagged(1, [struct.pack(f"<{len(values)}f", *values)]))
        except OverflowError as error:
            raise DecodeError(f"feature {name!r} holds a number that 32-bit floats cannot hold") from error
    if kinds <= {int, bool}:
        if not all(-_SIGN <= one < _SIGN for one in values):
            raise DecodeError(f"feature {name!r} holds an integer of more than 64 bits")
        return _tagged(3, _tagged(1, [b"".join(_encode_varint(int(one) % _MODULUS) for one in values)]))
    raise DecodeError(f"feature {name!r} is {value!r}, expected bytes, texts, floats or integers")


def _tagged(number: int, payload: list[bytes]) -> list[bytes]:
    """Return a field whose payload is in parts, in parts."""
    return [_encode_varint(number << 3 | _BYTES), _encode_varint(sum(map(len, payload))), *payload]


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _feature(view: memoryview, start: int, stop: int) -> Feature:
    feature: Feature = []
    for number, kind, first, last in _fields(view, start, stop):
        if kind != _BYTES:
            raise DecodeError(f"not a feature: field {number} of type {kind} at byte {first}")
        if number == 1:
            feature = [bytes(view[a:b]) for a, b in _each(view, 1, first, last)]
        elif number == 2:
            feature = _floats(view, first, last)
        elif number == 3:
            feature = _integers(view, first, last)
    return feature


def _floats(view: memoryview, start: int, stop: int) -> list[float]:
    values: list[float] = []
    for number, kind, first, last in _fields(view, start, stop):
        if number != 1:
            continue
        if kind not in (_BYTES, _FOUR) or (last - first) % 4:
            raise DecodeError(f"not a list of floats at byte {first}")
        values += struct.unpack(f"<{(last - first) // 4}f", view[first:last])
    return values


def _integers(view: memoryview, start: int, stop: int) -> list[int]:
    values: list[int] = []
    for number, kind, first, last in _fields(view, start, stop):
        if number != 1:
            continue
        if kind not in (_BYTES, _VARINT):
            raise DecodeError(f"not a list of integers at byte {first}")
        at = first
        while at < last:
            value, at = _varint(view, at, last)
            values.append(value - _MODULUS if value >= _SIGN else value)
    return values


def _entry(view: memoryview, start: int, stop: int) -> tuple[str, int, int]:
    """Return (name, start, stop) of an entry of a map, whose name and value may be left out."""
    name, value = (start, start), (stop, stop)
    for number, kind, first, last in _fields(view, start, stop):
        if number in (1, 2) and kind != _BYTES:
            raise DecodeError(f"not a feature: entry of type {kind} at byte {first}")
        if number == 1:
            name = (first, last)
        elif number == 2:
            value = (first, last)
    try:
        return str(view[slice(*name)], "utf-8"), *value
    except UnicodeDecodeError as error:
        raise DecodeError(f"not a feature: its name at byte {name[0]} is not UTF-8") from error


def _each(view: memoryview, wanted: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of each field with this number."""
    for number, kind, first, last in _fields(view, start, stop):
        if number == wanted:
            if kind != _BYTES:
                raise DecodeError(f"not a tf.train.Example: field {number} of type {kind} at byte {first}")
            yield first, last


def _fields(view: memoryview, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (number, type, start, stop) of each field of a message: where its payload is."""
    at = start
    while at < stop:
        tag = view[at]  # numbers of one byte, which nearly all are, take no call
        tag, at = (tag, at + 1) if tag < 0x80 else _varint(view, at, stop)
        kind = tag & 7
        first = at
        if kind == _BYTES:
            length = view[at] if at < stop else 0x80
            length, first = (length, at + 1) if length < 0x80 else _varint(view, at, stop)
            at = first + length
        elif kind == _VARINT:
            _, at = _varint(view, at, stop)
        elif kind == _EIGHT:
            at += 8
        elif kind == _FOUR:
            at += 4
        else:
            raise DecodeError(f"not a tf.train.Example: type {kind} at byte {first}")
        if at > stop:
            raise DecodeError(f"a field ends at byte {at}, behind its message, which ends at byte {stop}")
        yield tag >> 3, kind, first, at


def _varint(view: memoryview, at: int, stop: int) -> tuple[int, int]:
    """Return (value, behind it) of the varint at a byte."""
    if at < stop and (byte := view[at]) < 0x80:  # nearly all of them
        return byte, at + 1
    value = shift = 0
    for end in range(at, min(stop, at + _MAX_VARINT_BYTES)):
        byte = view[end]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value % _MODULUS, end + 1
        shift += 7
    raise DecodeError(f"a number at byte {at} has no end")

"""Encode Python values as field payloads, for samples that are written from code."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Iterable
from typing import Any, SupportsIndex

import numpy as np

from shardpack.codecs import encode_image
from shardpack.codecs.arrays import encode_npy, encode_npz
from shardpack.codecs.compression import Compression, split_compression
from shardpack.codecs.dict_keys import dict_keys
from shardpack.codecs.field_types import kind_of
from shardpack.codecs.message_pack import encode_msgpack, msgpack_module
from shardpack.codecs.zstd import zstd_versions
from shardpack.errors import MissingDependencyError, OptionError
from shardpack.runtime.words import a_type


def _encode_json(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain_number)
    for keys in dict_keys(value):
        _check_names(keys)
    return text.encode()


def _plain_number(value: Any) -> Any:
    """Return NumPy's numbers as Python's: labels often come out of arrays."""
    if isinstance(value, np.generic):
        plain = value.item()
        if not isinstance(plain, np.generic):  # longdouble has no counterpart
            return plain
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_TEXT = frozenset((str,))


def _check_names(keys: Iterable[Any]) -> None:
    """Raise OptionError if JSON gives two keys of a dict the same name, as readers would keep one of them only."""
    if _TEXT.issuperset(map(type, keys)):
        return
    seen: dict[str, Any] = {}
    for key in keys:
        name = key if isinstance(key, str) else json.dumps(key)
        if name in seen:
            raise OptionError(
                f"a dict has the keys {seen[name]!r} and {key!r}, both of which JSON writes as {name!r}; rename one"
            )
        seen[name] = key


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "json": _encode_json,
    "npy": encode_npy,
    "npz": encode_npz,
    "msgpack": encode_msgpack,
}


def encode_field(field: str, value: Any) -> bytes:
    """Return the payload of a field; it does not share memory with a mutable value.

    Bytes-like values are stored unchanged in any field. The last part of a field's name decides about others:
    in `json`, every value, strings and NumPy's numbers included, becomes compact UTF-8 JSON; in `cls`, an integer
    becomes its decimal text; in `npy` an array, in `npz` a dict of arrays, in `msgpack` what MessagePack can hold;
    in `png`, `jpg` and `webp` an array or a PIL image becomes an image as `encode_image.py` says; in other fields,
    a string becomes UTF-8.
    With `.zst` behind, such as `json.zst`, the payload is then compressed at level 3.

    Raises:
        OptionError: The field cannot store this value.
        MissingDependencyError: The field needs a library that is not installed.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    plain, suffix = split_compression(field)
    if suffix == "gz":
        raise OptionError(f"field {field!r} got {a_type(value)}; expected bytes, or name it {plain + '.zst'!r}")
    try:
        payload = _encode(plain, value)
    except MissingDependencyError:
        raise
    except Exception as error:  # encoders raise many kinds of errors; a UnicodeEncodeError is a ValueError
        reason = error.args[0] if isinstance(error, OptionError) else f"{error}; change the value"
        raise OptionError(f"field {field!r} cannot be stored: {reason}") from error
    if payload is None:
        raise OptionError(f"field {field!r} got {a_type(value)}; expected {_expected(plain)}")
    return payload if suffix is None else Compression().compress(payload)


def _encode(field: str, value: Any) -> bytes | None:
    """Return the payload; None if the field takes no such value."""
    kind = kind_of(field)
    encode = _ENCODERS.get(kind)
    if encode is not None:
        return encode(value)
    if kind in encode_image.FORMATS:  # a string may be a path, and its text is not an image
        return encode_image.encode_image(kind, value) if encode_image.is_image_value(value) else None
    if isinstance(value, str):
        return None if kind == "cls" and not value.strip().lstrip("+-").isdecimal() else value.encode()
    if kind == "cls" and isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return b"%d" % operator.index(value)  # includes numpy's integers
    return None


def _expected(field: str) -> str:
    kind = kind_of(field)
    if kind == "cls":
        return "an integer, or bytes"
    if kind in encode_image.FORMATS:
        return "an array, a PIL image, or bytes"
    if kind == "txt":
        return "a str, or bytes"
    return f"bytes; values are encoded in fields {', '.join((*_ENCODERS, 'cls', 'txt', *encode_image.FORMATS))}"


def versions_for(fields: set[str]) -> dict[str, str]:
    """Return the versions of the libraries that decided the bytes of fields, where values were encoded."""
    found: dict[str, str] = {}
    for plain, suffix in map(split_compression, sorted(fields)):
        kind = kind_of(plain)
        if kind in encode_image.FORMATS:
            found.update(encode_image.versions())
        elif kind == "msgpack":
            found["msgpack"] = ".".join(map(str, msgpack_module().version))
        if suffix == "zst":
            found.update(zstd_versions())
    return found

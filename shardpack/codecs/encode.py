"""Python values to field payloads, for samples that are written from code."""

from __future__ import annotations

import json
import operator
from typing import Any, SupportsIndex

from shardpack.codecs.field_types import kind_of
from shardpack.errors import OptionError


def encode_field(field: str, value: Any) -> bytes:
    """Return the payload of a field; it does not share memory with a mutable value.

    Bytes-like values are stored unchanged in any field. In `json`, every other value, strings included,
    becomes compact UTF-8 JSON; in `cls`, an integer becomes its decimal text; in other fields, a string
    becomes UTF-8.

    Raises:
        OptionError: The field cannot store a value of this type.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    kind = kind_of(field)
    try:
        if kind == "json":
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        if isinstance(value, str):
            return value.encode()
    except (TypeError, ValueError, RecursionError) as error:  # a UnicodeEncodeError is a ValueError
        raise OptionError(f"field {field!r} cannot be stored: {error}; change the value") from error
    if kind == "cls" and isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return b"%d" % operator.index(value)  # includes numpy's integers
    raise OptionError(f"field {field!r} got a {type(value).__name__}; expected bytes (images are not encoded here)")

"""Python values to field payloads, for samples that come from code."""

from __future__ import annotations

import json
import operator
from typing import Any, SupportsIndex

from shardpack.codecs.field_types import kind_of
from shardpack.errors import OptionError


def encode_field(field: str, value: Any) -> bytes:
    """Return the payload of a field; it shares no memory with a value that can change.

    Bytes-like values are stored as they are, whatever the field. For `json` anything else becomes
    compact UTF-8 JSON, a string among it; for `cls` an integer its decimal text; for other fields
    a string becomes UTF-8.

    Raises:
        OptionError: The field does not say how to store such a value.
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
    except (TypeError, ValueError, RecursionError) as error:  # UnicodeEncodeError among the ValueErrors
        raise OptionError(f"field {field!r} cannot be stored: {error}; change the value") from error
    if kind == "cls" and isinstance(value, SupportsIndex) and not isinstance(value, bool):
        return b"%d" % operator.index(value)  # numpy's integers too
    raise OptionError(f"field {field!r} got a {type(value).__name__}; expected bytes (images are not encoded here)")

"""Python values to field payloads, for samples that come from code."""

from __future__ import annotations

import json
from typing import Any

from shardpack.errors import OptionError


def encode_field(field: str, value: Any) -> bytes | memoryview:
    """Return the payload of a field.

    Bytes-like values are stored as they are, whatever the field. For `json` anything else becomes
    compact UTF-8 JSON; for `cls` an integer its decimal text; a string becomes UTF-8.

    Raises:
        OptionError: The field does not say how to store such a value.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return memoryview(value).cast("B")
    kind = field.rpartition(".")[2]
    if kind == "json":
        try:
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        except (TypeError, ValueError) as error:
            raise OptionError(f"field {field!r} cannot become JSON: {error}") from error
    if isinstance(value, str):
        return value.encode()
    if kind == "cls" and isinstance(value, int):
        return str(value).encode()
    raise OptionError(f"field {field!r} got a {type(value).__name__}; expected bytes (pictures are not encoded here)")

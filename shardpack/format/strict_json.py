"""JSON as the format's files hold it: UTF-8, one object, no repeated name (SPEC 3 C2, SPEC 6.1 M1)."""

from __future__ import annotations

import json
from typing import Any


def strict_json_object(text: bytes | memoryview) -> dict[str, Any]:
    """Return the JSON object in some UTF-8 bytes.

    Raises:
        ValueError: The bytes are not JSON, not an object, or an object in them repeats a name. The message
            completes the sentence "the file is ...".
    """
    try:
        # Decoded here, as `json.loads` would also accept UTF-16 and UTF-32.
        value = _DECODER.decode(str(text, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - the data is wrong, not a caller's argument
    return value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_refuse_duplicates)  # `json.loads` would create one per call

"""Lists of a large JSON file, one object after the other: the whole of it never is in memory as Python values.

A file of 450 MB takes 3 GB once it is parsed; here it takes the length of its text, and one object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Generator, Iterator
from typing import Any, NoReturn

from shardpack.errors import DecodeError

_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse_constant(text: str) -> NoReturn:
    raise DecodeError(f"{text} is not a JSON number; write null")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


def stream_lists(data: bytes, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """Yield (name, number, element) of the named lists in the object that a JSON file holds, as they come.

    A named list begins with (name, -1, []); a named value of another kind comes as (name, -1, value).

    Args:
        data: The file: RFC 8259, UTF-8.
        names: Names of lists; what other names hold is parsed and dropped.

    Raises:
        DecodeError: The file is not JSON, not an object, or repeats a name; says where.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from error
    del data
    try:
        yield from _object(text, names)
    except (ValueError, RecursionError, IndexError) as error:
        if isinstance(error, DecodeError):
            raise
        reason = "it ends too early" if isinstance(error, IndexError) else error
        raise DecodeError(f"not JSON: {reason}") from error


def _object(text: str, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    at = _skip(text, 0)
    if text[at] != "{":
        _refuse(text, at, "an object")
    at = _skip(text, at + 1)
    seen: set[str] = set()
    while text[at] != "}":
        name, at = _decode(text, _expect(text, at, ",") if seen else at)
        if not isinstance(name, str):
            _refuse(text, at, "a name")
        if name in seen:
            raise DecodeError(f"not JSON: the name {name!r} occurs twice")
        seen.add(name)
        at = _expect(text, at, ":")
        if name in names and text[at] == "[":
            at = yield from _list(text, at, name)
        else:
            value, at = _decode(text, at)
            if name in names:
                yield name, -1, value
        at = _skip(text, at)
    if _skip(text, at + 1) != len(text):
        _refuse(text, at + 1, "the end")


def _list(text: str, at: int, name: str) -> Generator[tuple[str, int, Any], None, int]:
    """Yield the elements of the list that begins at a bracket; return where it ends."""
    yield name, -1, []
    at = _skip(text, at + 1)
    number = 0
    while text[at] != "]":
        element, at = _decode(text, _expect(text, at, ",") if number else at)
        yield name, number, element
        number += 1
        at = _skip(text, at)
    return at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _expect(text: str, at: int, mark: str) -> int:
    """Return where the value behind a mark begins."""
    at = _skip(text, at)
    if text[at] != mark:
        _refuse(text, at, f"{mark!r}")
    return _skip(text, at + 1)


def _refuse(text: str, at: int, expected: str) -> NoReturn:
    raise DecodeError(f"not JSON: expected {expected} at character {at}, got {text[at : at + 20]!r}")

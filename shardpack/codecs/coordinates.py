"""Where labels hold coordinates of pixels, judged by names and values: what must not go unnoticed when pixels move.

Names decide first: `bbox_xyxy`, `facePolygon` and `xmin` do, if there are numbers behind them, and so do run lengths
and pairs of `x` and `y`. Where the image's size is known, four numbers that may be a box in it count under any name
(`unnamed_boxes.py`). A text that is a list or object of JSON is looked into, as tables have them. Text labels are known
by their form: lines of YOLO, and the boxes of Pascal VOC and CVAT. A name too many costs the user a question, a name
too few a wrong label.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from shardpack.codecs.compression import decompress, split_compression
from shardpack.codecs.field_types import kind_of, opened, parse_json
from shardpack.codecs.label_words import LISTS, NUMBERS, words_of
from shardpack.codecs.message_pack import decode_msgpack
from shardpack.codecs.unnamed_boxes import find_box, find_box_columns
from shardpack.errors import DecodeError, MissingDependencyError

_LOOKED_AT = 100_000  # bytes of a table or of YAML
_DIGITS = r"[-+]?[0-9][0-9.]*"
# A name and the number behind it, perhaps in a list, and whether another one follows there.
_YAML_NUMBERS = re.compile(
    rf"(?P<name>[\w.-]+)[\"']?[ ]*:[\s\[-]*{_DIGITS}(?P<more>[\s,-]+{_DIGITS}(?![\w.-]*[\"']?:))?"
)
LINES = "its lines"  # where the coordinates of a text of YOLO are
_X = re.compile(r"(?:(?<![A-Za-z])[xX]|(?<=[a-z])X)(?![a-z])")  # x as a word
_NUMBERS_AS_TEXT = re.compile(r"[-+0-9.eE,;:()\[\]\s]{1,100000}")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?")
_YOLO_LINE = re.compile(rb"[0-9]+(?:[ \t]+-?[0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?){4,}[ \t]*")
_XML_BOX = re.compile(rb"<(?:bndbox|xmin|box|polygon|polyline|points|keypoints?)\b")


def find_coordinates(value: Any, path: str = "", *, side: int | None = None) -> str | None:
    """Return where in a JSON value the first coordinates are, such as "objects[0].bbox"; None without any.

    Args:
        value: The value.
        path: Where it is.
        side: The longer side of the image; None if it is not known, so that names alone decide.

    Raises:
        DecodeError: The value is nested too deeply.
    """
    try:
        found = _find(value, path)
        return found if found is not None or side is None else find_box(value, side, path)
    except RecursionError as error:
        raise DecodeError("label is nested too deeply to look into; flatten it") from error


def _find(value: Any, path: str) -> str | None:
    value = opened(value)
    if isinstance(value, Mapping):
        if found := _pair(value):
            return path or found
        for name, inner in value.items():
            inside = f"{path}.{name}" if path else str(name)
            if is_coordinates(str(name), opened(inner)):
                return inside
            if found := _find(inner, inside):
                return found
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            if isinstance(inner, (Mapping, list, tuple, str)) and (found := _find(inner, f"{path}[{number}]")):
                return found
    return None


def _pair(value: Mapping[str, Any]) -> str | None:
    """Return which names of an object are coordinates together."""
    if _num_numbers(value.get("size")) > 1 and "counts" in value:
        return "size and counts"  # run lengths
    pairs = ((name, other) for name in value if (other := _other(str(name))) is not None and other in value)
    return next((" and ".join(pair) for pair in pairs if all(_num_numbers(value[name]) for name in pair)), None)


@lru_cache(maxsize=4096)
def _other(name: str) -> str | None:
    """Return the name that makes a pair of coordinates with another: "y" for "x", "eye_y_2" for "eye_x_2"."""
    if name == "left":
        return "top"
    found = _X.search(name)
    if found is None:
        return None
    y = "y" if found[0] == "x" else "Y"
    return name[: found.start()] + y + name[found.end() :]


def is_coordinates(name: str, value: Any) -> bool:
    """Return whether a value holds coordinates, by its name and by the numbers in it, also as text."""
    parts = words_of(name)
    return (not parts.isdisjoint(LISTS) and _num_numbers(value) > 1) or (
        not parts.isdisjoint(NUMBERS) and _num_numbers(value) > 0
    )


def find_in_field(field: str, payload: bytes, *, side: int | None = None) -> str | None:
    """Return where in a field that is not an image coordinates are; None without any.

    JSON, MessagePack, npz, CSV, YAML, text and XML are looked into, others are judged by the field's name: `boxes.npy`.

    Args:
        field: Name of the field.
        payload: Its payload.
        side: See `find_coordinates`.

    Raises:
        DecodeError: The field is not what its name says.
    """
    plain, suffix = split_compression(field)
    kind = kind_of(plain)
    name = plain.removesuffix(kind)
    look = _LOOKS.get(kind)
    if look is not None:
        content = payload if suffix is None else decompress(suffix, payload)
        try:
            return look(name, content, side)
        except MissingDependencyError:  # then the name must do
            pass
        except (ValueError, LookupError, OSError, zipfile.BadZipFile) as error:
            if isinstance(error, DecodeError):
                raise
            raise DecodeError(f"field {field!r} does not decode: {error}") from error
    return "all of it" if not words_of(name or kind).isdisjoint(LISTS) else None


def _in_json(name: str, content: bytes, side: int | None) -> str | None:
    value = parse_json(content)
    return f"{name}json" if is_coordinates(name, value) else find_coordinates(value, side=side)


def _in_msgpack(name: str, content: bytes, side: int | None) -> str | None:
    value = decode_msgpack(content)
    return f"{name}msgpack" if is_coordinates(name, value) else find_coordinates(value, side=side)


def _in_npz(name: str, content: bytes, _: int | None) -> str | None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = [array.removesuffix(".npy") for array in archive.namelist()]
    return next(filter(_is_name, [*arrays, name]), None)


def _in_csv(_: str, content: bytes, side: int | None) -> str | None:
    text = content[:_LOOKED_AT].decode(errors="replace")
    names = {*map(str.strip, re.split(r"[,;\t]", text.partition("\n")[0]))}
    found = next((name for name in sorted(names) if _is_name(name) or _other(name) in names), None)
    return found if found is not None or side is None else find_box_columns(text, side)


def _in_yaml(_: str, content: bytes, __: int | None) -> str | None:
    text = content[:_LOOKED_AT].decode(errors="replace")
    found = {match["name"]: 1 + bool(match["more"]) for match in _YAML_NUMBERS.finditer(text)}
    for name, count in found.items():
        if is_coordinates(name, [0] * count) or _other(name) in found:
            return name
    return None


def _in_txt(_: str, content: bytes, __: int | None) -> str | None:
    lines = content.splitlines()
    return LINES if lines and all(_YOLO_LINE.fullmatch(line) for line in lines if line.strip()) else None


def _in_xml(_: str, content: bytes, __: int | None) -> str | None:
    return "its boxes" if _XML_BOX.search(content) else None


_LOOKS: dict[str, Callable[[str, bytes, int | None], str | None]] = {
    "json": _in_json,
    "msgpack": _in_msgpack,
    "npz": _in_npz,
    "csv": _in_csv,
    "tsv": _in_csv,
    "yaml": _in_yaml,
    "yml": _in_yaml,
    "txt": _in_txt,
    "xml": _in_xml,
}


def _is_name(name: str) -> bool:
    return not words_of(name).isdisjoint(LISTS | NUMBERS)


def _num_numbers(value: Any) -> int:
    """Return how many numbers a JSON value holds, at any depth; 2 means many."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return 1
    if isinstance(value, str):  # columns of a CSV come as text
        return min(2, len(_NUMBER.findall(value))) if _NUMBERS_AS_TEXT.fullmatch(value) else 0
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    count = 0
    for part in inner:
        count += _num_numbers(part)
        if count > 1:
            return 2
    return count

"""Where labels hold coordinates of pixels, judged by names and values: what must not go unnoticed when pixels move.

Names decide, since numbers alone say nothing: `bbox_xyxy`, `facePolygon` and `xmin` do, if there are numbers behind
them, and so do run lengths and pairs of `x` and `y`. Text labels are known by their form: lines of YOLO, and the boxes
of Pascal VOC and CVAT. A name too many costs the user a question, a name too few a wrong label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shardpack.codecs.compression import decompress, split_compression
from shardpack.codecs.field_types import kind_of, parse_json
from shardpack.errors import DecodeError

_LIST_WORDS = """
    bb bbox bboxes bbs bndbox bndboxes box boxes contour contours coord coordinate coordinates coords corner corners
    cuboid cuboids ellipse joint joints keypoint keypoints keypts kp kps kpts landmark landmarks lms obb point points
    poly polygon polygons polyline polylines polys pose pts quad rect rectangle rectangles rects rle rles roi rois
    segmentation segmentations segments vertex vertices xywh xyxy
"""
_NUMBER_WORDS = "cx cy x0 x1 x2 x3 xbr xc xcenter xmax xmin xtl y0 y1 y2 y3 ybr yc ycenter ymax ymin ytl"
_LISTS, _NUMBERS = frozenset(_LIST_WORDS.split()), frozenset(_NUMBER_WORDS.split())
LINES = "its lines"  # where the coordinates of a text of YOLO are
_PAIRS = (("x", "y"), ("left", "top"))
_PART = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+|[0-9]+")
_YOLO_LINE = re.compile(rb"[0-9]+(?:[ \t]+-?[0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?){4,}[ \t]*")
_XML_BOX = re.compile(rb"<(?:bndbox|xmin|box|polygon|polyline|points|keypoints?)\b")


def find_coordinates(value: Any, path: str = "") -> str | None:
    """Return where in a JSON value the first coordinates are, such as "objects[0].bbox"; None without any.

    Raises:
        DecodeError: The value is nested too deeply.
    """
    try:
        return _find(value, path)
    except RecursionError as error:
        raise DecodeError("label is nested too deeply to look into; flatten it") from error


def _find(value: Any, path: str) -> str | None:
    if isinstance(value, Mapping):
        if found := _pair(value):
            return path or found
        for name, inner in value.items():
            inside = f"{path}.{name}" if path else str(name)
            if is_coordinates(str(name), inner):
                return inside
            if found := _find(inner, inside):
                return found
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            if isinstance(inner, (Mapping, list, tuple)) and (found := _find(inner, f"{path}[{number}]")):
                return found
    return None


def _pair(value: Mapping[str, Any]) -> str | None:
    """Return which names of an object are coordinates together."""
    if _num_numbers(value.get("size")) > 1 and "counts" in value:
        return "size and counts"  # run lengths
    pairs = (pair for pair in _PAIRS if all(_num_numbers(value.get(name)) for name in pair))
    return next(map(" and ".join, pairs), None)


def is_coordinates(name: str, value: Any) -> bool:
    """Return whether a value holds coordinates, by its name and by the numbers in it."""
    parts = _parts(name)
    return (not parts.isdisjoint(_LISTS) and _num_numbers(value) > 1) or (
        not parts.isdisjoint(_NUMBERS) and _num_numbers(value) > 0
    )


def find_in_field(field: str, payload: bytes) -> str | None:
    """Return where in a field that is not an image coordinates are; None without any.

    JSON, text and XML are looked into, others are judged by the field's name: `boxes.npy`.

    Raises:
        DecodeError: The field is not the JSON that its name says.
    """
    plain, suffix = split_compression(field)
    kind = kind_of(plain)
    names = plain.removesuffix(kind)
    if kind in {"json", "txt", "xml"}:
        content = payload if suffix is None else decompress(suffix, payload)
        if kind == "json":
            value = parse_json(content)
            return plain if is_coordinates(names, value) else find_coordinates(value)
        if kind == "xml":
            return "its boxes" if _XML_BOX.search(content) else None
        lines = content.splitlines()
        return LINES if lines and all(_YOLO_LINE.fullmatch(line) for line in lines if line.strip()) else None
    return "all of it" if not _parts(names or kind).isdisjoint(_LISTS) else None


@lru_cache(maxsize=4096)  # the same names come in every label
def _parts(name: str) -> frozenset[str]:
    """Return the words of a name in lower case, with and without digits, and the whole: "bbox", "xyxy", "bboxxyxy"."""
    words = {part.lower() for part in _PART.findall(name)} | {re.sub(r"[^a-z0-9]", "", name.lower())}
    return frozenset(words | {word.rstrip("0123456789") for word in words})


def _num_numbers(value: Any) -> int:
    """Return how many numbers a JSON value holds, at any depth; 2 means many."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)):
        return 1
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    count = 0
    for part in inner:
        count += _num_numbers(part)
        if count > 1:
            return 2
    return count

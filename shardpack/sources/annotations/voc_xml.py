"""Pascal VOC's annotations: an XML file for each image.

    <annotation><size><width>500</width><height>375</height></size>
      <object><name>dog</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
        <bndbox><xmin>9</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>

Pixels count from 1, and `xmax` is the last one inside: this box is [8, 0, 12, 30]. An xmin of 0, which some tools
write, is taken as 1.
"""

from __future__ import annotations

import math

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.annotations.plain_xml import Element, parse_elements
from shardpack.sources.label_shape import Object, annotation, label

_FLAGS = ("truncated", "difficult", "occluded")
_ROOT = frozenset({"annotation"})


def parse_voc(data: bytes | None, _: ImageSize | None = None) -> Object:
    """Return the label that an annotation file describes, classes by name.

    Raises:
        DecodeError: The file is not XML, or an object lacks a name or has an empty box.
    """
    root = next(parse_elements(data or b"", _ROOT), None)
    if root is None:
        raise DecodeError("expected an element <annotation>; this is not an annotation of Pascal VOC")
    size = root.child("size")
    width, height = (None, None) if size is None else (_side(size, "width"), _side(size, "height"))
    objects = [each for each in root.children if each.tag == "object"]
    return label(width, height, [_annotation(each, number) for number, each in enumerate(objects)])


def _side(size: Element, name: str) -> int | None:
    text = size.text_of(name)
    if not text or text == "0":  # some tools do not look at the image
        return None
    if not text.isdecimal() or len(text) > 9:
        raise DecodeError(f"size: {name} is {text[:40]!r}, expected a number of pixels")
    return int(text)


def _annotation(element: Element, number: int) -> Object:
    name = element.text_of("name")
    if not name:
        raise DecodeError(f"object[{number}] has no name; name its class")
    flags: Object = {flag: _flag(element, flag, number) for flag in _FLAGS}
    polygon, box = element.child("polygon"), element.child("bndbox")
    if box is None and polygon is None:
        raise DecodeError(f"object[{number}] has no bndbox; add it, or remove the object")
    return annotation(
        bbox=None if box is None else _box(box, number),
        name=name,
        segmentation=None if polygon is None else [_points(polygon, number)],
        **flags,
        pose=element.text_of("pose") or None,
    )


def _flag(element: Element, name: str, number: int) -> int | None:
    text = element.text_of(name)
    if not text:
        return None
    if text not in ("0", "1"):
        raise DecodeError(f"object[{number}]: {name} is {text[:40]!r}, expected 0 or 1")
    return int(text)


def _box(box: Element, number: int) -> list[float]:
    left, top, right, bottom = (_number(box, name, number) for name in ("xmin", "ymin", "xmax", "ymax"))
    x, y = max(left - 1, 0), max(top - 1, 0)
    if right <= x or bottom <= y or left < 0 or top < 0:
        raise DecodeError(
            f"object[{number}]: bndbox {left:g}, {top:g}, {right:g}, {bottom:g} is empty or outside; correct it"
        )
    return [x, y, right - x, bottom - y]


def _points(polygon: Element, number: int) -> list[float]:
    """Return a polygon as Roboflow writes it: x1, y1, x2, y2, ..."""
    count = len(polygon.children) // 2
    points = [_number(polygon, f"{axis}{i}", number) for i in range(1, count + 1) for axis in "xy"]
    if count < 3:
        raise DecodeError(f"object[{number}]: polygon has {count} points, expected three or more")
    return points


def _number(element: Element, name: str, number: int) -> float:
    text = element.text_of(name)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < 1e9:
        raise DecodeError(f"object[{number}]: {element.tag} has {name} {(text or '')[:40]!r}, expected a number")
    return value

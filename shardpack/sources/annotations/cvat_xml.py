"""CVAT for images 1.1: one XML file with the annotations of many images.

    <annotations><meta><task><labels><label><name>dog</name></label></labels></task></meta>
      <image id="0" name="a.jpg" subset="train" width="640" height="480">
        <box label="dog" occluded="0" xtl="1" ytl="2" xbr="5" ybr="6"><attribute name="colour">red</attribute></box>
        <polygon label="dog" points="1,2;5,2;5,6"/> <points label="dog" points="1,2;5,6"/>
        <mask label="dog" rle="3, 2, 1" left="4" top="2" width="3" height="2"/> <tag label="outdoor"/>
      </image></annotations>

A turned box becomes its polygon, an ellipse the box around it with `"shape": "ellipse"`, a painted mask run lengths.
Polylines, cuboids, skeletons and turned ellipses have no place in the shape of labels: they are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.codecs.run_lengths import encode_runs
from shardpack.errors import DecodeError
from shardpack.runtime.words import with_article
from shardpack.sources.annotations.plain_xml import Element, parse_elements
from shardpack.sources.label_shape import Object, annotation, label

_MAX_PIXELS = 1 << 28  # of an image with a mask
_KEPT = ("occluded", "z_order")  # numbers that are kept under their names, where they are not 0
_WANTED = frozenset({"image", "labels", "track"})


@dataclass(frozen=True, slots=True)
class CvatImage:
    """What a file says of one image.

    Attributes:
        name: Path of the image, as the file has it.
        subset: Its split, or None.
        label: The label, classes by name.
        problem: Why it cannot be taken over; then the label is empty.
    """

    name: str
    subset: str | None
    label: Object
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CvatClasses:
    """The classes of a task, in its order."""

    names: tuple[str, ...]


def looks_like_cvat(head: bytes) -> bool:
    """Return whether an XML file that begins with these bytes is one of CVAT."""
    return b"<annotations>" in head and (b"<meta>" in head or b"<image " in head)


def parse_cvat(data: bytes) -> Iterator[CvatImage | CvatClasses]:
    """Yield the classes, if the file lists them, and then each image.

    Raises:
        DecodeError: The file is not XML, or is the export of a video.
    """
    for number, element in enumerate(parse_elements(data, _WANTED)):
        if element.tag == "track":
            raise DecodeError("the annotations are those of a video; export the task as CVAT for images 1.1")
        if element.tag == "labels":
            names = (each.text_of("name") for each in element.children if each.tag == "label")
            yield CvatClasses(tuple(name for name in names if name))
        else:
            yield _image(element, number)


def _image(element: Element, number: int) -> CvatImage:
    name, subset = element.attributes.get("name", ""), element.attributes.get("subset") or None
    if not name:
        return CvatImage(name, subset, {}, f"image {number} has no name")
    try:
        width, height = (_integer(element, side) for side in ("width", "height"))
        tags = [_class_of(each) for each in element.children if each.tag == "tag"]
        shapes = [each for each in element.children if each.tag != "tag"]
        annotations = [_annotation(each, width, height) for each in shapes]
    except DecodeError as error:
        return CvatImage(name, subset, {}, str(error))
    one, several = (tags[0], None) if len(tags) == 1 else (None, tags or None)
    return CvatImage(name, subset, label(width, height, annotations, name=one, tags=several))


def _class_of(element: Element) -> str:
    name = element.attributes.get("label")
    if not name:
        raise DecodeError(f"{with_article(element.tag)} has no label; name its class")
    return name


def _annotation(element: Element, width: int, height: int) -> Object:
    name = _class_of(element)
    attributes = {each.attributes.get("name", ""): each.text for each in element.children if each.tag == "attribute"}
    kept: Object = {key: _integer(element, key) or None for key in _KEPT if key in element.attributes}
    return annotation(name=name, **_shape(element, width, height), **kept, attributes=attributes or None)


def _shape(element: Element, width: int, height: int) -> Object:
    turned = _number(element, "rotation", 0.0)
    match element.tag:
        case "box":
            left, top, right, bottom = (_number(element, side) for side in ("xtl", "ytl", "xbr", "ybr"))
            if right < left or bottom < top:
                raise DecodeError(f"a box goes from {left:g}, {top:g} to {right:g}, {bottom:g}; correct it")
            if turned:
                return {"segmentation": [_turned(left, top, right, bottom, turned)]}
            return {"bbox": [left, top, right - left, bottom - top]}
        case "polygon":
            points = _points(element)
            if len(points) < 6:
                raise DecodeError(f"a polygon has {len(points) // 2} points, expected three or more")
            return {"segmentation": [points]}
        case "points":
            points = _points(element)
            return {"keypoints": [v for i in range(0, len(points), 2) for v in (*points[i : i + 2], 2)]}
        case "ellipse" if not turned:
            x, y, rx, ry = (_number(element, part) for part in ("cx", "cy", "rx", "ry"))
            return {"bbox": [x - rx, y - ry, 2 * rx, 2 * ry], "shape": "ellipse"}
        case "mask":
            return _mask(element, width, height)
    kind = f"turned {element.tag}" if turned else element.tag
    raise DecodeError(f"{with_article(kind)} has no place in labels; draw it as a box, a polygon, points or a mask")


def _turned(left: float, top: float, right: float, bottom: float, degrees: float) -> list[float]:
    """Return the corners of a box that is turned clockwise around its centre."""
    x, y, angle = (left + right) / 2, (top + bottom) / 2, math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    turned = ((x + (a - x) * cosine - (b - y) * sine, y + (a - x) * sine + (b - y) * cosine) for a, b in corners)
    return [value for corner in turned for value in corner]


def _mask(element: Element, width: int, height: int) -> Object:
    left, top, across, down = (_integer(element, part) for part in ("left", "top", "width", "height"))
    if not (across > 0 and left + across <= width and down > 0 and top + down <= height):
        raise DecodeError(f"a mask of {across} x {down} pixels at {left}, {top} is outside the image")
    if width * height > _MAX_PIXELS:
        raise DecodeError(f"a mask in an image of {width} x {height} pixels, expected at most {_MAX_PIXELS:,} pixels")
    words = element.attributes.get("rle", "").replace(",", " ").split()
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise DecodeError("the run lengths of a mask are not numbers; export it again")
    runs = [int(word) for word in words]
    if sum(runs) != across * down:
        raise DecodeError(f"the run lengths of a mask hold {sum(runs)} pixels, expected {across * down}")
    mask = np.zeros((height, width), bool)
    inner = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
    mask[top : top + down, left : left + across] = inner
    return {"bbox": [left, top, across, down], "segmentation": encode_runs(mask, as_text=True)}


def _points(element: Element) -> list[float]:
    text = element.attributes.get("points", "")
    points = [pair.split(",") for pair in text.split(";")]
    if not all(len(pair) == 2 for pair in points):
        raise DecodeError(f"{with_article(element.tag)} has the points {text[:40]!r}, expected x,y;x,y and so on")
    return [_as_number(word, element.tag) for pair in points for word in pair]


def _number(element: Element, name: str, default: float | None = None) -> float:
    text = element.attributes.get(name)
    if text is None:
        if default is None:
            raise DecodeError(f"{with_article(element.tag)} has no {name}; export it again")
        return default
    return _as_number(text, element.tag)


def _as_number(text: str, tag: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e9:
        raise DecodeError(f"{with_article(tag)} has {text[:40]!r} where a number was expected")
    return value


def _integer(element: Element, name: str) -> int:
    value = _number(element, name)
    if not value.is_integer() or (value < 0 and name != "z_order"):
        raise DecodeError(f"{with_article(element.tag)} has {name} {value:g}, expected a whole number")
    return int(value)

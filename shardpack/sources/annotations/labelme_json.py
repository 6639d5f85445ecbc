"""LabelMe's annotations: a JSON file for each image, with shapes.

    {"imagePath": "0001.jpg", "imageWidth": 640, "imageHeight": 480, "imageData": null, "flags": {"blurred": true},
     "shapes": [{"label": "dog", "shape_type": "polygon", "points": [[1, 2], [5, 2], [5, 6]], "group_id": null}]}

Polygons keep their points, rectangles become boxes, a circle the box around it with `"shape": "circle"`, and a point a
key point. Lines and painted masks have no place in the shape of labels: they are refused. The image in `imageData` is
ignored.
"""

from __future__ import annotations

import math
from codecs import BOM_UTF8
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.label_shape import Object, annotation, box_around, label

_LARGEST = 1e9  # of a coordinate


@dataclass(frozen=True, slots=True)
class LabelMeFile:
    """What an annotation file says.

    Attributes:
        image_path: The image as the file names it, relative to itself; "" if it names none.
        label: The label, classes by name.
    """

    image_path: str
    label: Object


def looks_like_labelme(data: bytes) -> bool:
    """Return whether a JSON file is one of LabelMe: by the names in it, without parsing the image it may hold."""
    return b'"shapes"' in data and (b'"imagePath"' in data or b'"shape_type"' in data)


def parse_labelme(data: bytes | None, _: ImageSize | None = None) -> LabelMeFile:
    """Return what an annotation file says.

    Raises:
        DecodeError: The file is not one of LabelMe, or a shape cannot be taken over.
    """
    content = parse_json((data or b"").removeprefix(BOM_UTF8))
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise DecodeError("expected an object with a list of shapes; this is not an annotation of LabelMe")
    path = content.get("imagePath")
    flags = content.get("flags")
    return LabelMeFile(
        path.replace("\\", "/") if isinstance(path, str) else "",
        label(
            _side(content, "imageWidth"),
            _side(content, "imageHeight"),
            [_annotation(shape, f"shapes[{number}]") for number, shape in enumerate(content["shapes"])],
            flags=flags or None,
        ),
    )


def _side(content: Object, name: str) -> int | None:
    value = content.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 1:
        raise DecodeError(f"{name} is {value!r}, expected a number of pixels")
    return value


def _annotation(shape: Any, where: str) -> Object:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"]:
        raise DecodeError(f"{where} has no label; name its class")
    kind = shape.get("shape_type") or "polygon"  # files of old versions have polygons only
    points = _points(shape.get("points"), where)
    make = _KINDS.get(kind)
    if make is None:
        raise DecodeError(
            f"{where} is a {str(kind)[:40]!r}, which labels have no place for; expected one of {', '.join(_KINDS)}"
        )
    more = {name: shape.get(name) or None for name in ("flags", "description")}
    return annotation(name=shape["label"], **make(points, where), group_id=shape.get("group_id"), **more)


def _points(value: Any, where: str) -> list[float]:
    flat: list[float] = []
    for point in value if isinstance(value, list) else ():
        numbers: list[Any] = point if isinstance(point, list) and len(point) == 2 else [None]
        if not all(type(number) in {int, float} and abs(number) < _LARGEST for number in numbers):
            raise DecodeError(f"{where}: a point is {str(point)[:40]}, expected [x, y]")
        flat += numbers
    if not flat:
        raise DecodeError(f"{where} has no points; draw it, or remove it")
    return flat


def _polygon(points: list[float], where: str) -> Object:
    if len(points) < 6:
        raise DecodeError(f"{where} is a polygon of {len(points) // 2} points, expected three or more")
    return {"segmentation": [points]}


def _rectangle(points: list[float], where: str) -> Object:
    if len(points) not in (4, 8):  # two corners; all four since version 5.9
        raise DecodeError(f"{where} is a rectangle of {len(points) // 2} points, expected two corners")
    return {"bbox": box_around(points)}


def _circle(points: list[float], where: str) -> Object:
    if len(points) != 4:
        raise DecodeError(f"{where} is a circle of {len(points) // 2} points, expected its centre and one on its rim")
    x, y, rim_x, rim_y = points
    radius = math.hypot(rim_x - x, rim_y - y)
    return {"bbox": [x - radius, y - radius, 2 * radius, 2 * radius], "shape": "circle"}


def _point(points: list[float], where: str) -> Object:
    if len(points) != 2:
        raise DecodeError(f"{where} is a point with {len(points) // 2} positions, expected one")
    return {"keypoints": [*points, 2]}


_KINDS = {"polygon": _polygon, "rectangle": _rectangle, "circle": _circle, "point": _point}

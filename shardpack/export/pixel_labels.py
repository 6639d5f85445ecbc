"""Labels in the one shape (`sources/label_shape.py`) as COCO and YOLO need them: checked, with sizes and areas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from shardpack.codecs.image_size import ImageSize, image_size
from shardpack.codecs.label_types import LabelType
from shardpack.codecs.polygons import polygon_area, rounded
from shardpack.errors import ExportError
from shardpack.export.exporter import Contents
from shardpack.sources.label_shape import box_around

Object = dict[str, Any]


def size_of(label: Mapping[str, Any], payload: bytes) -> ImageSize:
    """Return the size of an image, by its own bytes.

    Raises:
        ExportError: The label says another size.
        DecodeError: The bytes do not tell it.
    """
    size = image_size(payload, whole=True)
    assert size is not None
    said = label.get("width"), label.get("height")
    if said not in ((None, None), (size.width, size.height)):
        raise ExportError(
            f"the label is for {said[0]} x {said[1]} pixels, but the image has {size.width} x {size.height}; correct it"
        )
    return size


def annotations_of(label: Mapping[str, Any]) -> list[Object]:
    """Return the annotations of a label; [] without any.

    Raises:
        ExportError: They are not a list of objects.
    """
    found = label.get("annotations")
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ExportError("annotations are not a list of objects; correct the label, or leave the sample out")
    return found


def box_of(annotation: Mapping[str, Any]) -> list[float] | None:
    """Return the box [x, y, w, h] of an annotation, or that around its polygons; None without either.

    Raises:
        ExportError: The box is not four numbers.
    """
    box = annotation.get("bbox")
    if box is None:
        polygons = polygons_of(annotation)
        return [rounded(value) for value in box_around(chain.from_iterable(polygons))] if polygons else None
    if not are_numbers(box) or len(box) != 4:
        raise ExportError(f"bbox is {short(box)}, expected [x, y, w, h]; correct the label, or leave the sample out")
    return list(box)


def polygons_of(annotation: Mapping[str, Any]) -> list[list[float]] | None:
    """Return the polygons of an annotation; None if it has none, or run lengths.

    Raises:
        ExportError: A polygon is not x, y of three points or more.
    """
    found = annotation.get("segmentation")
    if not isinstance(found, list) or not found:
        return None
    for polygon in found:
        if not are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            raise ExportError(f"polygon is {short(polygon)}, expected x, y of three points or more; correct the label")
    return found


def area_of(annotation: Mapping[str, Any], box: Sequence[float]) -> float:
    """Return the area of an annotation: its own, that of its polygons, or that of its box."""
    area = annotation.get("area")
    if isinstance(area, (int, float)):
        return area
    polygons = polygons_of(annotation)
    if polygons is None:
        return rounded(box[2] * box[3])
    return rounded(sum(polygon_area(np.array(polygon, np.float64).reshape(-1, 2)) for polygon in polygons))


def label_number(annotation: Mapping[str, Any], classes: Sequence[str] | None) -> int | None:
    """Return the number of the class of an annotation, from 0; None if nothing says it."""
    number, name = annotation.get("label"), annotation.get("class")
    if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
        return number
    return classes.index(name) if classes is not None and name in classes else None


def members_of_annotations(contents: Contents) -> dict[str, LabelType]:
    """Return the type of each value that annotations have, by name; {} if there are none, or they are not objects."""
    assert contents.labels is not None
    kind = contents.labels.types.get("annotations")
    return {} if kind is None or kind.element is None else dict(kind.element.members)


def are_numbers(values: Any) -> bool:
    """Return whether a value is a list of numbers."""
    return isinstance(values, list) and all(type(value) in (int, float) for value in values)


def short(value: Any) -> str:
    """Return a value for a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

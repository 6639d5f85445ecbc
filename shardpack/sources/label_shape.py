"""The one shape of labels with boxes, polygons, masks, key points and captions, whatever layout they come from.

    {"width": 640, "height": 480, "label": 3, "class": "street", "captions": ["a dog in a street"],
     "annotations": [{"bbox": [x, y, w, h], "category_id": 18, "label": 1, "class": "dog",
                      "segmentation": [[x, y, x, y, x, y, ...], ...], "keypoints": [x, y, v, ...], "num_keypoints": 17,
                      "area": 1200, "iscrowd": 0}]}

Positions are in pixels of the image as it is stored, pixel i covering i to i + 1. `label` counts from 0 in the order
of the dataset's classes, `category_id` is the source's own number or name. What the source does not say is left out;
what else it says is kept under its own names. README.md documents the shape, and `codecs/move_label.py` moves it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shardpack.codecs.polygons import rounded
from shardpack.codecs.run_lengths import check_runs
from shardpack.errors import DecodeError

SHAPE = "annotations"  # its name in the manifest: `label_shape` of the options
_TOLERANCE = 1  # pixels that a position may be outside: tools round up, or count from 1

Object = dict[str, Any]  # a JSON object


def annotation(
    *,
    bbox: Sequence[float] | None = None,
    category_id: int | str | None = None,
    number: int | None = None,
    name: str | None = None,
    segmentation: Sequence[Sequence[float]] | Mapping[str, Any] | None = None,
    keypoints: Sequence[float] | None = None,
    iscrowd: int | None = None,
    **more: Any,
) -> Object:
    """Return one annotation of an image; what is None is left out.

    Args:
        bbox: x, y, width and height; None takes that around the polygons.
        category_id: Number or name of its class in the source.
        number: Number of its class, if it is known already; else it follows with `numbered`.
        name: Name of its class.
        segmentation: Polygons, each x, y, x, y, ...; or run lengths.
        keypoints: x, y, v, x, y, v, ...: v is 0 for not labelled, 1 for hidden, 2 for visible.
        iscrowd: 1 for a group of objects.
        more: What else the source says.
    """
    shapes: Any = segmentation
    if segmentation is not None and not isinstance(segmentation, Mapping):
        shapes = [[rounded(value) for value in polygon] for polygon in segmentation]
        if bbox is None:
            bbox = box_around(value for polygon in segmentation for value in polygon)
    result = {
        "bbox": None if bbox is None else [rounded(value) for value in bbox],
        "category_id": category_id,
        "label": number,
        "class": name,
        "segmentation": shapes,
        "keypoints": None if keypoints is None else [rounded(value) for value in keypoints],
        "num_keypoints": None if keypoints is None else sum(value > 0 for value in keypoints[2::3]),
        "iscrowd": iscrowd,
        **more,
    }
    return {key: value for key, value in result.items() if value is not None}


def label(
    width: int | None,
    height: int | None,
    annotations: Sequence[Object] | None = None,
    *,
    name: str | None = None,
    captions: Sequence[str] | None = None,
    **more: Any,
) -> Object:
    """Return the label of an image; what is None is left out.

    Args:
        width, height: Of the image as it is stored.
        annotations: As returned by `annotation`; may be empty, which says that there is nothing in the image.
        name: Class of the whole image.
        captions: Texts that describe the image.
        more: What else the source says.
    """
    result = {"width": width, "height": height, "class": name, "captions": captions, **more, "annotations": annotations}
    return {key: value for key, value in result.items() if value is not None}


def box_around(values: Iterable[float]) -> list[float]:
    """Return [x, y, w, h] around points x, y, x, y, ..., of which there must be one."""
    numbers = list(values)
    across, down = numbers[::2], numbers[1::2]
    return [min(across), min(down), max(across) - min(across), max(down) - min(down)]


def class_names(value: Object) -> Iterator[str]:
    """Yield the names of the classes that a label names."""
    if "class" in value:
        yield value["class"]
    for each in value.get("annotations", ()):
        if "class" in each:
            yield each["class"]


def numbered(value: Object, number_of: Mapping[str, int]) -> Object:
    """Return a label with the number of each class in front of its name."""
    result = _with_number(value, number_of)
    if "annotations" in result:
        result["annotations"] = [_with_number(each, number_of) for each in result["annotations"]]
    return result


def _with_number(value: Object, number_of: Mapping[str, int]) -> Object:
    result: Object = {}
    for key, part in value.items():
        if key == "class":
            result["label"] = number_of[part]
        result[key] = part
    return result


# -- checks ---------------------------------------------------------------------------------------


def label_problems(value: Any, width: int, height: int) -> Iterator[str]:
    """Yield what in a label contradicts its image: a size, or a box, polygon or key point outside of it.

    Args:
        value: A JSON value; one that is not in the shape has no problems.
        width, height: Of the image as it is stored.
    """
    if not isinstance(value, Mapping):
        return
    said = value.get("width"), value.get("height")
    if said not in ((None, None), (width, height)):
        yield f"the label is for {said[0]} x {said[1]} pixels, but the image has {width} x {height}"
    for name in ("annotations", "segments_info"):
        parts = value.get(name)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, Mapping):
                yield from (f"{name}[{number}]: {problem}" for problem in _problems(part, width, height))


def _problems(part: Mapping[str, Any], width: int, height: int) -> Iterator[str]:
    if box := part.get("bbox"):
        if not _are_numbers(box) or len(box) != 4 or box[2] < 0 or box[3] < 0:
            yield f"bbox is {_short(box)}, expected [x, y, w, h]"
        elif not _within((box[0], box[0] + box[2]), (box[1], box[1] + box[3]), width, height):
            yield f"bbox {_short(box)} is outside the image of {width} x {height} pixels"
    if segmentation := part.get("segmentation"):
        yield from _segmentation_problems(segmentation, width, height)
    if points := part.get("keypoints"):
        if not _are_numbers(points) or len(points) % 3:
            yield f"keypoints are {_short(points)}, expected x, y and v of each"
        else:
            seen = [number for number in range(0, len(points), 3) if points[number + 2] > 0]
            if not _within([points[i] for i in seen], [points[i + 1] for i in seen], width, height):
                yield f"keypoints are outside the image of {width} x {height} pixels"


def _segmentation_problems(segmentation: Any, width: int, height: int) -> Iterator[str]:
    if isinstance(segmentation, Mapping):
        try:
            check_runs(segmentation, height, width)
        except DecodeError as error:
            yield str(error)
    elif not isinstance(segmentation, (list, tuple)):
        yield "segmentation is neither a list of polygons nor run lengths"
    else:
        for number, polygon in enumerate(segmentation):
            if not _are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
                yield f"segmentation[{number}] is {_short(polygon)}, expected x, y of three points or more"
            elif not _within(polygon[::2], polygon[1::2], width, height):
                yield f"segmentation[{number}] is outside the image of {width} x {height} pixels"


def _are_numbers(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(type(v) in {int, float} and math.isfinite(v) for v in values)


def _within(across: Sequence[float], down: Sequence[float], width: int, height: int) -> bool:
    return (
        min(across, default=0) >= -_TOLERANCE
        and min(down, default=0) >= -_TOLERANCE
        and max(across, default=0) <= width + _TOLERANCE
        and max(down, default=0) <= height + _TOLERANCE
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

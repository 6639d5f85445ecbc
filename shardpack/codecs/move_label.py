"""Labels follow their image: the one shape of labels that shardpack understands, moved as the pixels were.

    {"width": 640, "height": 480, "label": 3, ...,
     "annotations": [{"bbox": [x, y, w, h], "segmentation": ..., "keypoints": [x, y, v, ...], "area": ..., ...}]}

- `bbox` is cut to the image; an annotation of which nothing is left is dropped.
- `segmentation` is a list of polygons, which are cut to the image, or run lengths, which are resampled by nearest
  neighbour as masks are.
- `keypoints` outside become 0, 0, 0: not labelled; `num_keypoints` is counted again.
- `area` is that of the result: counted for run lengths, else scaled, and reduced by the share that was cut off.
- `width` and `height` become those of the result.
- `segments_info`, which describes a panoptic image, is a list like `annotations`.

Positions are rounded to 0.001 pixels. All else stays as it is. Coordinates anywhere else are a question to the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shardpack.codecs.coordinates import find_coordinates
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.polygons import Points, clip_polygon, polygon_area, rounded
from shardpack.codecs.run_lengths import decode_runs, encode_runs
from shardpack.errors import DecodeError, OptionError

_LISTS = ("annotations", "segments_info")  # the second: of a panoptic image, which follows as a mask
_MOVED = ("bbox", "segmentation", "keypoints")
_SIZED = (*_MOVED, "area")
_LARGEST = 1e9  # of a coordinate; JSON has integers that no float holds, and 1e999


def move_label(label: Any, geometry: Geometry) -> Any:
    """Return a label as it is for the result: the label itself, if it says nothing about pixels.

    Args:
        label: A JSON value.
        geometry: What happened to the image.

    Raises:
        OptionError: It holds coordinates in another shape.
        DecodeError: Its coordinates are for an image of another size, or are damaged.
    """
    if geometry.is_unchanged:
        return label
    lists = {name: label[name] for name in _LISTS if _is_annotated(label, name)}
    if not lists:
        _refuse_others(label, geometry)
        return _with_size(label, geometry)
    _refuse_others({name: value for name, value in label.items() if name not in lists}, geometry)
    for name, objects in lists.items():
        for number, annotation in enumerate(objects):
            rest = {name: value for name, value in annotation.items() if name not in _MOVED}
            _refuse_others(rest, geometry, f"{name}[{number}]")
    if any(annotation.get(name) for objects in lists.values() for annotation in objects for name in _SIZED):
        _check_size(label, geometry)
        label = {**label, **{name: _move_all(name, objects, geometry) for name, objects in lists.items()}}
    return _with_size(label, geometry)


def find_measures(label: Any, *, side: int) -> str | None:
    """Return where a label first says something in pixels, besides the size of its image; None if it does not.

    Args:
        label: A JSON value.
        side: The longest side of the images that it may be for.

    Raises:
        DecodeError: The label is nested too deeply.
    """
    lists = ((name, label[name]) for name in _LISTS if _is_annotated(label, name))
    areas = (f"{name}[{i}].area" for name, objects in lists for i, one in enumerate(objects) if one.get("area"))
    return find_coordinates(label, side=side) or next(areas, None)


def size_of(label: Any) -> tuple[Any, Any]:
    """Return the (height, width) that a label gives for its image; None for what it does not say."""
    return (label.get("height"), label.get("width")) if isinstance(label, Mapping) else (None, None)


def _is_annotated(label: Any, name: str) -> bool:
    annotations = label.get(name) if isinstance(label, Mapping) else None
    return isinstance(annotations, list) and all(isinstance(annotation, Mapping) for annotation in annotations)


def _move_all(name: str, annotations: Sequence[Mapping[str, Any]], geometry: Geometry) -> list[dict[str, Any]]:
    moved = (_move(annotation, geometry, f"{name}[{number}]") for number, annotation in enumerate(annotations))
    return [annotation for annotation in moved if annotation is not None]


def _refuse_others(value: Any, geometry: Geometry, path: str = "") -> None:
    found = find_coordinates(value, path, side=geometry.longer_side)
    if found is not None:
        raise OptionError(
            f"label holds coordinates at {found}, in a shape that cannot follow the image: expected "
            '{"annotations": [{"bbox": [x, y, w, h] in pixels, "segmentation", "keypoints"}]}; convert them, or keep '
            'labels as they are with labels="keep" (--labels keep)'
        )


def _check_size(label: Any, geometry: Geometry) -> None:
    height, width = size_of(label)
    if height not in (None, geometry.height) or width not in (None, geometry.width):
        raise DecodeError(
            f"label is for an image of width {width!r} and height {height!r}, but the image is stored with width "
            f"{geometry.width} and height {geometry.height}"
            + (f" (and EXIF orientation {geometry.orientation})" if geometry.orientation > 1 else "")
            + "; correct the label, or the image"
        )


def _with_size(label: Any, geometry: Geometry) -> Any:
    """Return the label with the result's size, if it has that of the stored image."""
    if size_of(label) != (geometry.height, geometry.width):
        return label
    return {**label, "width": geometry.target.width, "height": geometry.target.height}


def _move(annotation: Mapping[str, Any], geometry: Geometry, where: str) -> dict[str, Any] | None:
    """Return an annotation that was moved; None if nothing of it is left."""
    moved = dict(annotation)
    areas: list[tuple[float, float]] = []  # (all, kept) of the box, then of the segmentation
    try:
        if annotation.get("bbox"):
            moved["bbox"], area = _move_box(annotation["bbox"], geometry)
            areas.append(area)
        if segmentation := annotation.get("segmentation"):
            moved["segmentation"], area = _move_segmentation(segmentation, geometry)
            areas.append(area)
        if annotation.get("keypoints"):
            moved["keypoints"], count = _move_keypoints(annotation["keypoints"], geometry)
            if "num_keypoints" in moved:
                moved["num_keypoints"] = count
        if "area" in annotation and (areas or annotation["area"]):
            moved["area"] = _area(annotation, areas[-1] if areas else (0, 0), geometry)
    except DecodeError as error:
        raise DecodeError(f"{where}: {error.args[0]}") from error
    return None if areas and areas[0][0] > 0 and areas[0][1] <= 0 else moved


def _area(annotation: Mapping[str, Any], measured: tuple[float, float], geometry: Geometry) -> Any:
    whole, kept = measured
    if isinstance(annotation.get("segmentation"), Mapping):
        return int(kept)
    if not _are_numbers([annotation["area"]]):
        raise DecodeError(f"area is {annotation['area']!r}, expected a number; correct it")
    across, down = geometry.scale
    return rounded(annotation["area"] * across * down * (kept / whole if whole else 1))


def _move_box(box: Any, geometry: Geometry) -> tuple[list[float], tuple[float, float]]:
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box) and box[2] >= 0 and box[3] >= 0):
        raise DecodeError(f"bbox is {box!r}, expected [x, y, w, h] in pixels; correct it")
    x, y, width, height = box
    corners = geometry.move_points(np.array([[x, y], [x + width, y + height]], np.float64))
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.array((geometry.target.width, geometry.target.height))
    inner_low, inner_high = np.clip(low, 0, size), np.clip(high, 0, size)
    whole, kept = float(np.prod(high - low)), float(np.prod(inner_high - inner_low))
    return [rounded(v) for v in (*inner_low, *(inner_high - inner_low))], (whole, kept)


def _move_segmentation(value: Any, geometry: Geometry) -> tuple[Any, tuple[float, float]]:
    if isinstance(value, Mapping):
        mask = geometry.move_mask(decode_runs(value, geometry.height, geometry.width))
        moved = encode_runs(mask, as_text=isinstance(value["counts"], str))
        return {**value, **moved}, (float(mask.size), float(np.count_nonzero(mask)))
    polygons = [geometry.move_points(polygon) for polygon in _polygons(value)]
    clipped = [clip_polygon(points, geometry.target.width, geometry.target.height) for points in polygons]
    areas = sum(map(polygon_area, polygons)), sum(map(polygon_area, clipped))
    return [[rounded(v) for v in points.reshape(-1)] for points in clipped if len(points) > 2], areas


def _polygons(value: Any) -> list[Points]:
    listed = isinstance(value, list)
    if not listed or not all(
        isinstance(points, list) and len(points) >= 6 and len(points) % 2 == 0 and _are_numbers(points)
        for points in value
    ):
        raise DecodeError("segmentation is neither [[x, y, x, y, x, y, ...], ...] nor run lengths; correct it")
    return [np.array(points, np.float64).reshape(-1, 2) for points in value]


def _move_keypoints(value: Any, geometry: Geometry) -> tuple[list[Any], int]:
    if not isinstance(value, list) or len(value) % 3 or not _are_numbers(value):
        raise DecodeError("keypoints are not [x, y, v, x, y, v, ...]; correct them")
    triples = np.array(value, np.float64).reshape(-1, 3)
    points = geometry.move_points(triples[:, :2])
    size = (geometry.target.width, geometry.target.height)
    seen = (triples[:, 2] > 0) & (points >= 0).all(axis=1) & (points <= size).all(axis=1)
    moved: list[Any] = []
    for point, visible, is_seen in zip(points.tolist(), value[2::3], seen.tolist(), strict=True):
        moved += [rounded(point[0]), rounded(point[1]), visible] if is_seen else [0, 0, 0]
    return moved, int(seen.sum())


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(type(value) in {int, float} and abs(value) < _LARGEST for value in values)

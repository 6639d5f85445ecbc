"""Labels of images that a loader crops, mirrors, resizes or turns: they follow the pixels, or are refused.

The one shape of labels that shardpack understands follows (`move_label.py`). Other coordinates are an error, as a label
must not be wrong without notice: boxes of another shape, arrays as large as the image, and key points that mirroring
would leave with the wrong names, such as "left eye". Of several images, a label follows the one whose size it gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from shardpack.codecs.compression import split_compression
from shardpack.codecs.coordinates import LINES, find_coordinates, find_in_field, is_coordinates
from shardpack.codecs.crop import Frame
from shardpack.codecs.field_types import kind_of
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.move_label import find_measures, move_label, size_of
from shardpack.codecs.unnamed_boxes import are_boxes
from shardpack.errors import DecodeError, OptionError

_MIRRORED = 2  # EXIF 2.32, 4.6.5


def follow_frame(field: str, value: Any, payload: bytes, frame: Frame) -> Any:
    """Return a decoded label as it is for the images of its sample.

    Args:
        field: Name of a field that is not an image.
        value: The decoded label.
        payload: The payload as it is stored; may be empty for npy, which is judged by its name and shape.
        frame: Where the images were cut; all of them have been decoded.

    Raises:
        OptionError: The label holds coordinates that cannot follow, or does not say which of several images.
        DecodeError: The label is in the known shape, but for an image of another size, or damaged.
    """
    geometries = frame.geometries
    moved = {name: one for name, one in geometries.items() if frame.cuts or not one.is_unchanged}
    if not moved:
        return value
    kind = kind_of(split_compression(field)[0])
    if kind in {"json", "msgpack"}:
        geometry = _geometry_for(field, value, geometries)
        if geometry.is_unchanged and not frame.cuts:
            return value
        return _follow(field, value, geometry, can_mirror=frame.can_mirror)
    where = find_in_field(field, payload, side=_longest_side(moved))
    keeps_proportions = not frame.cuts and all(one.keeps_proportions for one in moved.values())
    if where == LINES and keeps_proportions:  # YOLO's numbers are relative
        where = None
    sizes = {(one.height, one.width) for one in moved.values()}
    arrays = value if isinstance(value, Mapping) else {"": value}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            continue
        if array.shape[:2] in sizes:
            where = name or "each pixel"
        elif are_boxes(array, _longest_side(moved)):
            where = name or "each row"
    if where is not None:
        raise _refusal(field, where)
    return value


def _geometry_for(field: str, value: Any, geometries: Mapping[str, Geometry]) -> Geometry:
    """Return the geometry of the image whose size a label gives: any, if they are the same or nothing depends on it."""
    first, *others = geometries.values()
    if all(one == first for one in others):
        return first
    height, width = size_of(value)
    fitting = [one for one in geometries.values() if height in (None, one.height) and width in (None, one.width)]
    if fitting and all(one == fitting[0] for one in fitting):
        return fitting[0]
    where = "all of it" if _is_named_for_coordinates(field, value) else None
    where = where or find_measures(value, side=_longest_side(geometries))
    if where is None:
        return (fitting or [first])[0]
    images = ", ".join(f"{name!r} {_described(one)}" for name, one in geometries.items())
    if not fitting:
        raise DecodeError(
            f"field {field!r} is for an image of width {width!r} and height {height!r}, but its sample has {images}; "
            "correct the label, or the image"
        )
    raise OptionError(
        f"field {field!r} holds coordinates ({where}) and no width and height that only one image of its sample has: "
        f"{images}; decode only the image that it is for, with decode={{...}} or fields=[...], or leave the field as "
        f"bytes with decode={{..., {field!r}: None}}"
    )


def _longest_side(geometries: Mapping[str, Geometry]) -> int:
    return max(one.longer_side for one in geometries.values())


def _described(geometry: Geometry) -> str:
    turned = ", turned by EXIF" if geometry.orientation > _MIRRORED else ""
    return f"(width {geometry.width}, height {geometry.height}{turned})"


def _follow(field: str, value: Any, geometry: Geometry, *, can_mirror: bool) -> Any:
    if _is_named_for_coordinates(field, value):
        raise _refusal(field, "all of it")
    annotations = value.get("annotations") if isinstance(value, Mapping) else None
    if can_mirror and isinstance(annotations, list):
        for annotation in annotations:
            if isinstance(annotation, Mapping) and annotation.get("keypoints"):
                raise _refusal(field, "keypoints, of which left and right would change places")
    stays = geometry.is_unchanged  # by chance: another sample, or this one in the next epoch, may be mirrored
    if stays:
        geometry = replace(geometry, orientation=_MIRRORED)
    try:
        moved = move_label(value, geometry)
    except OptionError as error:
        raise _refusal(field, _place(value, geometry.longer_side)) from error
    return value if stays else moved


def _is_named_for_coordinates(field: str, value: Any) -> bool:
    plain, _ = split_compression(field)
    return is_coordinates(plain.removesuffix(kind_of(plain)), value)


def _place(value: Any, side: int) -> str:
    """Return where the coordinates of a label are, and by what they are told if not by their name."""
    if (named := find_coordinates(value)) is not None:
        return named
    box = find_coordinates(value, side=side)
    return "some place" if box is None else f"{box}: four numbers that may be a box"


def _refusal(field: str, where: str) -> OptionError:
    unmoved = f", or decoded as it is stored with decode={{..., {field!r}: json.loads}}" * (kind_of(field) == "json")
    return OptionError(
        f"field {field!r} holds coordinates ({where}), which crop, flip and size cannot move; leave the field as bytes "
        f"with decode={{..., {field!r}: None}}{unmoved}, or change images and labels together in a transform"
    )

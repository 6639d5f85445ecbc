"""Labels of images that a loader crops, mirrors, resizes or turns: they follow the pixels, or are refused.

The one shape of labels that shardpack understands follows (`move_label.py`). Other coordinates are an error, as a label
must not be wrong without notice: boxes of another shape, arrays as large as the image, and key points that mirroring
would leave with the wrong names, such as "left eye".
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
from shardpack.codecs.move_label import move_label
from shardpack.codecs.unnamed_boxes import are_boxes
from shardpack.errors import OptionError

_MIRRORED = 2  # EXIF 2.32, 4.6.5


def follow_frame(field: str, value: Any, payload: bytes, frame: Frame) -> Any:
    """Return a decoded label as it is for the images of its sample.

    Args:
        field: Name of a field that is not an image.
        value: The decoded label.
        payload: The payload as it is stored; may be empty for npy, which is judged by its name and shape.
        frame: Where the images were cut; all of them have been decoded.

    Raises:
        OptionError: The label holds coordinates that cannot follow.
        DecodeError: The label is in the known shape, but for an image of another size, or damaged.
    """
    geometry = frame.geometry
    if geometry is None or (geometry.is_unchanged and not frame.cuts):
        return value
    kind = kind_of(split_compression(field)[0])
    if kind in {"json", "msgpack"}:
        return _follow(field, value, geometry, can_mirror=frame.can_mirror)
    where = find_in_field(field, payload, side=geometry.longer_side)
    if where == LINES and geometry.keeps_proportions and not frame.cuts:  # YOLO's numbers are relative
        where = None
    arrays = value if isinstance(value, Mapping) else {"each pixel": value}
    for name, array in arrays.items():
        if isinstance(array, np.ndarray) and (
            array.shape[:2] == (geometry.height, geometry.width) or are_boxes(array, geometry.longer_side)
        ):
            where = name
    if where is not None:
        raise _refusal(field, where)
    return value


def _follow(field: str, value: Any, geometry: Geometry, *, can_mirror: bool) -> Any:
    plain, _ = split_compression(field)
    if is_coordinates(plain.removesuffix(kind_of(plain)), value):
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
        raise _refusal(field, find_coordinates(value, side=geometry.longer_side) or "some place") from error
    return value if stays else moved


def _refusal(field: str, where: str) -> OptionError:
    return OptionError(
        f"field {field!r} holds coordinates ({where}), which crop, flip and size cannot move; leave the field as bytes "
        f"with decode={{..., {field!r}: None}}, or change images and labels together in a transform"
    )

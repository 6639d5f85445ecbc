"""Masks and labels follow the image of their sample: same turn, same part, same scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from shardpack.codecs.arrays import encode_npy, view_npy
from shardpack.codecs.compression import decompress, split_compression
from shardpack.codecs.coordinates import LINES, find_in_field
from shardpack.codecs.decode import decode_field
from shardpack.codecs.encode import encode_field
from shardpack.codecs.field_types import kind_of, parse_json
from shardpack.codecs.geometry import Geometry
from shardpack.codecs.image_codec import ImageCodec
from shardpack.codecs.mask_image import load_mask, mask_image
from shardpack.codecs.move_label import move_label
from shardpack.codecs.resize import Resize
from shardpack.codecs.unnamed_boxes import are_boxes
from shardpack.errors import DecodeError, OptionError, SourceError

Labels = Literal["follow", "keep"]
LABELS = get_args(Labels)
_STORED = ("png", "npy")  # numbers come back
_ARRAYS = ("npy", "npz")


def check_mask_codec(field: str, codec: ImageCodec) -> None:
    """Raise OptionError unless a codec keeps the numbers of a mask."""
    if codec.name not in _STORED or codec.rgb:
        raise OptionError(f"field {field!r} is a mask, and {codec} would change its numbers; choose png or npy")


def move_mask(
    field: str, value: Any, geometry: Geometry | None, resize: Resize | None, codec: ImageCodec | None
) -> tuple[str, Any]:
    """Return (name, payload) of a mask that has followed its image, in a lossless format.

    Args:
        field: Its name.
        value: Its payload, an array, or a PIL image.
        geometry: What happened to the image; None if the sample has none, and the mask is resized by itself.
        resize: For masks without an image.
        codec: How to store it; None keeps its format, or makes it PNG.

    Raises:
        SourceError: It is of another size than the image, or has several frames, or 16-bit colour.
        Exception: Its decoder raised an error of its own for garbage.
    """
    if geometry is not None and geometry.is_unchanged and codec is None:
        return field, value
    mask = _Mask.of(field, value)
    height, width = mask.pixels.shape[:2]
    if geometry is None:
        target = None if resize is None else resize.target(height, width)
        geometry = Geometry.unchanged(height, width) if target is None else Geometry(height, width, target)
    if (geometry.height, geometry.width) != (height, width):
        raise SourceError(
            f"mask {field!r} has width {width} and height {height}, but its image has width {geometry.width} and "
            f"height {geometry.height}; make them equal, or name the field with keep (--keep {field})"
        )
    if geometry.is_unchanged and codec is None:
        return field, value
    moved = geometry.move_mask(mask.pixels)
    if codec is None and (mask.image is None or not mask.is_payload):
        return field, mask.as_it_was(moved)
    codec = codec or ImageCodec("png")
    name = field if kind_of(field) == codec.name else f"{field.removesuffix(kind_of(field))}{codec.name}"
    if codec.name == "npy":
        return name, encode_npy(moved)
    return name, codec.encode(mask_image(moved, mask.image))


@dataclass(frozen=True, slots=True)
class _Mask:
    """A mask as it was found.

    Attributes:
        pixels: What it holds.
        image: The PIL image that it was, which may have a palette; None for an array.
        is_payload: Whether it was encoded.
    """

    pixels: npt.NDArray[Any]
    image: Any
    is_payload: bool

    @classmethod
    def of(cls, field: str, value: Any) -> _Mask:
        """Return the mask that a field holds: a payload, an array, or a PIL image."""
        is_payload = isinstance(value, (bytes, bytearray, memoryview))
        if kind_of(field) == "npy" or isinstance(value, np.ndarray):
            pixels, image = (view_npy(value) if is_payload else np.asarray(value)), None
        else:
            image = load_mask(bytes(value)) if is_payload else value
            pixels = np.asarray(image)
        if pixels.ndim < 2:
            raise SourceError(f"field {field!r} is not a mask: an array of shape {pixels.shape}")
        return cls(pixels, image, is_payload)

    def as_it_was(self, pixels: npt.NDArray[Any]) -> Any:
        """Return other pixels as what this one was: npy, an array or a PIL image."""
        if self.is_payload:
            return encode_npy(pixels)
        return pixels if self.image is None else mask_image(pixels, self.image)


def move_labels(field: str, value: Any, geometry: Geometry) -> Any:
    """Return the label in a field beside the image, for the result: the very value if nothing in it changes.

    Raises:
        OptionError: It holds coordinates in a shape that cannot be moved, or a number for each pixel.
        DecodeError: It is not what its field's name says, or is for an image of another size.
    """
    plain, suffix = split_compression(field)
    is_payload = isinstance(value, (bytes, bytearray, memoryview))
    if kind_of(plain) != "json":
        payload = _payload(field, value)
        _refuse_coordinates(field, payload, geometry)
        if kind_of(plain) in _ARRAYS:
            _refuse_arrays(field, decode_field(field, payload), geometry)
        return value
    label = parse_json(bytes(value) if suffix is None else decompress(suffix, value)) if is_payload else value
    moved = move_label(label, geometry)
    if moved is label and is_payload and not isinstance(label, dict):
        _refuse_coordinates(field, bytes(value), geometry)  # boxes.json
    if moved is label or moved == label:
        return value
    if suffix == "gz":
        raise OptionError("label holds coordinates, and gzip is only read; store it as json or json.zst")
    if not is_payload:
        return moved
    try:
        return encode_field(field, moved)
    except OptionError as error:  # JSON can be read that cannot be written: 1e999, half of a surrogate pair
        raise DecodeError(str(error.args[0])) from error


def _payload(field: str, value: Any) -> bytes:
    """Return what is stored for a value: in that form, all labels are looked into alike."""
    try:
        return encode_field(field, value)
    except OptionError as error:  # it is this sample's value
        raise SourceError(str(error.args[0])) from error


def _refuse_arrays(field: str, decoded: Any, geometry: Geometry) -> None:
    """Raise OptionError for arrays of boxes, or with a number for each pixel of the image: depth, flow, heat."""
    arrays = decoded if isinstance(decoded, Mapping) else {"its rows": decoded}
    for name, array in arrays.items():
        if are_boxes(array, geometry.longer_side):
            raise _refusal(field, name)
        if array.shape[:2] == (geometry.height, geometry.width):
            how = f"--nearest {field}" if kind_of(field) == "npy" else "as a mask, stored as npy"
            raise OptionError(
                f"field {field!r} has the height and width of the image, which is resized or turned; say whether it "
                f"follows by nearest neighbour ({how}), or stays as it is (--keep {field})"
            )


def check_no_coordinates(field: str, value: Any) -> None:
    """Raise SourceError if a label holds coordinates, of whatever shape: there are several images to follow."""
    if find_in_field(field, _payload(field, value)) is not None:
        raise SourceError(
            "label holds coordinates, and the sample has images of different sizes, of which it can follow only one; "
            'name the others with keep (--keep), or keep labels with labels="keep" (--labels keep)'
        )


def _refuse_coordinates(field: str, payload: bytes, geometry: Geometry) -> None:
    found = find_in_field(field, payload, side=geometry.longer_side)
    if found is None or (found == LINES and geometry.keeps_proportions):  # YOLO's numbers are relative
        return
    raise _refusal(field, found)


def _refusal(field: str, found: str) -> OptionError:
    return OptionError(
        f"field {field!r} holds coordinates ({found}), in a shape that cannot follow the image; convert them to "
        'json with "annotations", or keep labels as they are with labels="keep" (--labels keep)'
    )

"""Masks as images: pixels that are numbers of classes, which must come back as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.geometry import UPRIGHT
from shardpack.codecs.still_image import StillImage
from shardpack.errors import SourceError


def load_mask(payload: bytes) -> Any:
    """Return a mask as a loaded PIL image, as it is stored: a palette stays a palette, no orientation is applied.

    Raises:
        SourceError: It has several frames, more bits than can be read, or an orientation that Pillow applies.
        Exception: Pillow raised an error of its own for garbage.
    """
    still = StillImage.open(payload)
    if still.is_animated:
        raise SourceError("mask has several frames or pages; split it, or name its field with keep (--keep)")
    if still.lost_bits:
        raise SourceError(f"mask has {still.lost_bits} bits a channel, of which only 8 can be read; store it as npy")
    if still.turns_itself and still.orientation != UPRIGHT:
        raise SourceError("mask has an orientation, which Pillow applies to its pixels; store it upright, or as png")
    still.opened.load()
    return still.opened


def mask_image(numbers: npt.NDArray[Any], like: Any = None) -> Any:
    """Return numbers as a PIL image that a PNG can hold.

    Args:
        numbers: Array of height and width, and perhaps of channels.
        like: A PIL image that they come from, whose palette they keep.

    Raises:
        SourceError: There are numbers below 0 or above 65535.
        Exception: Pillow has no image for such an array.
    """
    from PIL import Image

    if numbers.dtype == np.bool_:
        return Image.fromarray(numbers.astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE)
    if numbers.dtype.kind in "iu" and numbers.dtype.itemsize > 1:
        if numbers.min(initial=0) < 0 or numbers.max(initial=0) > 65535:
            raise SourceError("mask has numbers that a png cannot hold; encode it as npy (--encode FIELD=npy)")
        numbers = numbers.astype(np.uint16)
    image = Image.fromarray(numbers)
    if getattr(like, "mode", "") == "P":
        image.putpalette(like.getpalette("RGB"))
        if "transparency" in like.info:
            image.info["transparency"] = like.info["transparency"]
    return image

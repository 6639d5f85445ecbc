"""`Geometry`: what happened to the pixels of an image, so that points, boxes and masks can follow them.

    stored pixels --EXIF orientation--> upright --crop--> part --scale--> result

Coordinates are continuous: pixel i of a row covers i to i + 1, so an image of width w ends at x = w, as COCO has it.
Masks take the pixel whose area holds the centre of theirs; in integers, so that every platform takes the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.resize import Cutout

UPRIGHT = 1  # EXIF 2.32, 4.6.5
# Orientation -> (whether x and y are swapped, then whether x is mirrored, whether y is mirrored).
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def turned_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Return (height, width) of the upright image."""
    return (width, height) if _TURNS[orientation][0] else (height, width)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The way from the stored pixels to those of the result.

    Attributes:
        height, width: Size of the image as it was stored.
        target: Size of the result, and which part of the upright image it shows.
        orientation: EXIF orientation, 1 to 8, which has been applied to the pixels.
    """

    height: int
    width: int
    target: Cutout
    orientation: int = UPRIGHT

    @classmethod
    def unchanged(cls, height: int, width: int) -> Geometry:
        """Return the geometry of an image whose pixels stay where they are."""
        return cls(height, width, Cutout.unchanged(height, width))

    @property
    def is_unchanged(self) -> bool:
        """Whether all pixels stay where they are."""
        return self.orientation == UPRIGHT and self.target == Cutout.unchanged(self.height, self.width)

    @property
    def keeps_proportions(self) -> bool:
        """Whether the whole image is shown as it was: relative coordinates stay right."""
        target = self.target
        whole = (target.crop_height, target.crop_width) == (self.height, self.width)
        return self.orientation == UPRIGHT and whole

    @property
    def longer_side(self) -> int:
        """Pixels of the longer side of the stored image: no coordinate is beyond it, however it is turned."""
        return max(self.height, self.width)

    @property
    def scale(self) -> tuple[float, float]:
        """How much longer the result's x and y are."""
        return self.target.width / self.target.crop_width, self.target.height / self.target.crop_height

    def move_points(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return (n, 2) where x and y of stored pixels are in the result, also outside of it."""
        swap, mirror_x, mirror_y = _TURNS[self.orientation]
        height, width = turned_size(self.height, self.width, self.orientation)
        x, y = (points[:, 1], points[:, 0]) if swap else (points[:, 0], points[:, 1])
        target = self.target
        x = ((width - x if mirror_x else x) - target.left) * target.width / target.crop_width
        y = ((height - y if mirror_y else y) - target.top) * target.height / target.crop_height
        return np.stack((x, y), axis=1)

    def move_mask(self, mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an array (height, width, ...) of stored pixels as that of the result, by nearest neighbour."""
        swap, mirror_x, mirror_y = _TURNS[self.orientation]
        upright = mask.swapaxes(0, 1) if swap else mask
        upright = upright[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
        target = self.target
        if target == Cutout.unchanged(*upright.shape[:2]):
            return np.ascontiguousarray(upright)
        rows = target.top + _nearest(target.height, target.crop_height)
        columns = target.left + _nearest(target.width, target.crop_width)
        taken: npt.NDArray[Any] = upright[rows[:, None], columns]
        return taken


def _nearest(new: int, old: int) -> npt.NDArray[np.int64]:
    """Return (new) for each pixel of a side the one of `old` that its centre is in."""
    return (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)

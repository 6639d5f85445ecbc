"""How a loader decodes images: size, crop, mirroring, orientation, and which libraries it may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shardpack.codecs.crop import (
    Box,
    CenterCrop,
    FieldFrame,
    Frame,
    RandomResizedCrop,
    as_crop,
    as_probability,
    power_below,
)
from shardpack.codecs.geometry import UPRIGHT
from shardpack.errors import OptionError

MAX_SCALE = 8  # supported by libjpeg-turbo and by Pillow's draft


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What to do with one image.

    Attributes:
        full_size: (height, width) of the image, upright.
        scale: Decode only every so many pixels: 1, 2, 4 or 8, if the format can do that.
        box: The part of the image that is shown, in pixels of the whole image, upright.
        size: (height, width) to resize the part to, or None.
        mirrored: Whether left and right change places.
    """

    full_size: tuple[int, int]
    scale: int
    box: Box
    size: tuple[int, int] | None
    mirrored: bool

    @property
    def shows_all(self) -> bool:
        """Whether the part is the whole image."""
        return (self.box.height, self.box.width) == self.full_size

    @property
    def decoded_size(self) -> tuple[int, int]:
        """(height, width) of the image when it is decoded at the scale."""
        height, width = self.full_size
        return -(-height // self.scale), -(-width // self.scale)

    def part_at(self, scale: int) -> tuple[float, float, float, float]:
        """Return (left, top, right, bottom) of the part in an image that was decoded at 1 / scale."""
        box = self.box
        return (
            box.left / scale,
            box.top / scale,
            (box.left + box.width) / scale,
            (box.top + box.height) / scale,
        )


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """Size, part and orientation of decoded images.

    Attributes:
        size: (height, width) to resize to, bilinear with antialiasing, without keeping the aspect ratio.
        min_size: (height, width) that `reduced` keeps at least; images are not resized to it.
        reduced: Let the JPEG decoder compute only half, a quarter or an eighth of width and height, if the
            result is at least `size` or `min_size`.
        exif_transpose: Rotate and flip the image according to its EXIF orientation before all else.
        fast_jpeg: Use simplejpeg if it is installed and supports the file.
        fast_resize: Use OpenCV if it is installed, for JPEGs that simplejpeg decodes.
        crop: Which part is resized to `size`; None for the whole image.
        flip: Probability of mirroring, for all images of a sample together.
        is_mask: Whether the pixels are numbers of classes, which are taken from the nearest neighbour and never mixed;
            None for images with a palette.
    """

    size: tuple[int, int] | None = None
    min_size: tuple[int, int] | None = None
    reduced: bool = True
    exif_transpose: bool = False
    fast_jpeg: bool = True
    fast_resize: bool = True
    crop: RandomResizedCrop | CenterCrop | None = None
    flip: float = 0.0
    is_mask: bool | None = False

    def __post_init__(self) -> None:
        if self.size is not None and self.min_size is not None:
            raise OptionError("give size or min_size, not both")
        for name in ("size", "min_size"):
            object.__setattr__(self, name, as_pair(name, getattr(self, name)))
        object.__setattr__(self, "crop", as_crop(self.crop, self.size))
        object.__setattr__(self, "flip", as_probability("flip", self.flip))
        if self.flip and self.min_size is not None:
            raise OptionError("min_size is for a transform that crops; let it mirror as well, instead of flip")

    @property
    def cuts(self) -> bool:
        """Whether images are cropped or mirrored."""
        return self.crop is not None or self.flip > 0

    @property
    def moves_labels(self) -> bool:
        """Whether labels have to follow their images: if those are cropped, mirrored, resized or turned.

        With `min_size`, a transform decides about the size of both.
        """
        return self.cuts or self.size is not None or (self.exif_transpose and self.min_size is None)

    def frame(self, key: int) -> Frame:
        """Return where to cut the images of a sample, and whether to mirror them.

        Args:
            key: A number for the sample and epoch; the same key gives the same frame.
        """
        return Frame(self.crop, self.size, self.flip, key, self._max_scale)

    @property
    def _max_scale(self) -> int:
        return MAX_SCALE if self.reduced else 1

    def plan(self, height: int, width: int, frame: FieldFrame | None, orientation: int = UPRIGHT) -> ImagePlan:
        """Return what to do with an upright image of this height and width.

        Args:
            height, width: Size of the upright image.
            frame: The frame of the image's field; None if nothing is cropped or mirrored, and no label follows.
            orientation: How the image is made upright.

        Raises:
            DecodeError: The frame was made for another image of the sample, of another aspect ratio.
        """
        box = Box(0, 0, height, width) if frame is None else frame.box(height, width, orientation)
        wanted = self.size or self.min_size
        scale = 1 if wanted is None else power_below(box.height, box.width, wanted, self._max_scale)
        return ImagePlan((height, width), scale, box, self.size, frame is not None and frame.mirrored)


def as_pair(name: str, value: Any) -> tuple[int, int] | None:
    """Return (height, width) of a pair, or of one number for a square.

    Raises:
        OptionError: The value is not a pair or number of pixels from 1 to 65535.
    """
    if value is None:
        return None
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or not all(isinstance(side, int) and 0 < side <= 65535 for side in pair):
        raise OptionError(f"{name} is {value!r}; expected (height, width) in pixels, or one number for a square")
    return pair

"""Which part of an image a loader shows, and whether mirrored: for training at random, for evaluation the middle.

    RandomResizedCrop   a box of random area and aspect ratio, somewhere in the image
    CenterCrop          the middle of the image
    `Frame`             the box and the mirroring of one sample, which all its images share

A box is a function of the size of the image, of the options, and of a key: it depends on no library, format or
thread. Nothing here touches a pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shardpack.codecs.geometry import UPRIGHT, Geometry, turned_size
from shardpack.codecs.resize import Cutout
from shardpack.errors import DecodeError, OptionError
from shardpack.order.permutation import derive_key

_PURPOSE = 65  # of `derive_key`: no order of order/permutation.py has this number, nor a transform's seed
_ATTEMPTS = 10  # boxes drawn until one fits, as torchvision does
_MIRROR = 4 * _ATTEMPTS  # number of the random number that decides about mirroring; each attempt takes four


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an image, in whole pixels.

    Attributes:
        top, left: First row and column.
        height, width: At least 1.
    """

    top: int
    left: int
    height: int
    width: int

    def aligned(self, scale: int) -> Box:
        """Return a box inside, hardly smaller, whose numbers are multiples of `scale`; no side may be less than that.

        Such a box begins and ends between two pixels of an image that is decoded at 1 / scale.
        """
        return Box(*(number // scale * scale for number in (self.top, self.left, self.height, self.width)))

    def scaled(self, height: float, width: float, limits: tuple[int, int]) -> Box:
        """Return the same part of an image that is `height` times as high and `width` times as wide.

        Args:
            height, width: The factors.
            limits: (height, width) of that image.
        """
        top, left = min(round(self.top * height), limits[0] - 1), min(round(self.left * width), limits[1] - 1)
        tall, wide = max(1, round(self.height * height)), max(1, round(self.width * width))
        return Box(top, left, min(tall, limits[0] - top), min(wide, limits[1] - left))


class Crop(Protocol):
    """Chooses the part of an image that is resized to `size`."""

    def box(self, height: int, width: int, size: tuple[int, int], key: int) -> Box:
        """Return the part of an image of this height and width; the same for the same arguments."""
        ...


@dataclass(frozen=True, slots=True)
class RandomResizedCrop:
    """The usual crop for training: a random part of the image, resized to `size`, without keeping its aspect ratio.

    Area and aspect ratio are drawn, then the place. If ten draws do not fit into the image, which happens to very long
    ones, the part is the middle of the image, as large as the ratios allow.

    Attributes:
        scale: Least and largest part of the image's area.
        ratio: Least and largest width / height, drawn evenly by their logarithm.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        for name, most in (("scale", 1.0), ("ratio", math.inf)):
            pair = getattr(self, name)
            if not (_is_pair(pair) and 0 < pair[0] <= pair[1] <= most and math.isfinite(pair[1])):
                limit = " and at most 1" if name == "scale" else ""
                raise OptionError(f"{name} is {pair!r}; expected (least, largest), both above 0{limit}")

    def box(self, height: int, width: int, size: tuple[int, int], key: int) -> Box:  # noqa: ARG002 -- of the protocol
        """Return the part of an image of this height and width."""
        least, most = self.scale
        low, high = (math.log(ratio) for ratio in self.ratio)
        for first in range(0, 4 * _ATTEMPTS, 4):
            area = height * width * (least + (most - least) * _uniform(key, first))
            ratio = math.exp(low + (high - low) * _uniform(key, first + 1))
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                top = int(_uniform(key, first + 2) * (height - tall + 1))
                left = int(_uniform(key, first + 3) * (width - wide + 1))
                return Box(top, left, tall, wide)
        wide = max(1, min(width, round(height * self.ratio[1])))
        tall = max(1, min(height, round(width / self.ratio[0])))
        return Box((height - tall) // 2, (width - wide) // 2, tall, wide)


@dataclass(frozen=True, slots=True)
class CenterCrop:
    """The usual crop for evaluation: what is left of `size` after the shorter side was resized to `short`.

    Attributes:
        short: Length of the shorter side in pixels, at least the longer side of `size`; None for 8/7 of that,
            which is 256 for 224.
    """

    short: int | None = None

    def __post_init__(self) -> None:
        if self.short is not None and not (type(self.short) is int and self.short > 0):
            raise OptionError(f"short is {self.short!r}; expected a number of pixels, such as 256")

    def short_for(self, size: tuple[int, int]) -> int:
        """Return the length of the shorter side before the middle is cut out.

        Raises:
            OptionError: `short` is too small for this size.
        """
        if self.short is None:
            return round(max(size) * 8 / 7)
        if self.short < max(size):
            raise OptionError(f"short of {self.short} leaves no {size[0]} x {size[1]}; give at least {max(size)}")
        return self.short

    def box(self, height: int, width: int, size: tuple[int, int], key: int) -> Box:  # noqa: ARG002 -- of the protocol
        """Return the part of an image of this height and width."""
        scale = min(height, width) / self.short_for(size)
        tall, wide = (max(1, round(side * scale)) for side in size)
        return Box((height - tall) // 2, (width - wide) // 2, tall, wide)


NAMES: dict[str, type[RandomResizedCrop | CenterCrop]] = {"random": RandomResizedCrop, "center": CenterCrop}


def as_crop(value: Any, size: tuple[int, int] | None) -> RandomResizedCrop | CenterCrop | None:
    """Return the crop that an option selects: a crop, its name, or None.

    Raises:
        OptionError: The value is something else, or the crop does not go with `size`.
    """
    crop = NAMES[value]() if isinstance(value, str) and value in NAMES else value
    if crop is None:
        return None
    if not isinstance(crop, (RandomResizedCrop, CenterCrop)):
        raise OptionError(f'crop is {value!r}; expected "random", "center", RandomResizedCrop(...) or CenterCrop(...)')
    if size is None:
        raise OptionError("crop needs a size to resize its part to; give size=224, for example")
    if isinstance(crop, CenterCrop):
        crop.short_for(size)
    return crop


def as_probability(name: str, value: Any) -> float:
    """Return a probability as a float.

    Raises:
        OptionError: The value is not a number from 0 to 1. True is refused, as it could mean 0.5 or 1.
    """
    if value is False:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise OptionError(f"{name} is {value!r}; expected a probability from 0 to 1, such as 0.5")
    return float(value)


class Frame:
    """Where the images of one sample are cut, and whether they are mirrored. For one thread.

    The first image that asks decides; the others get the same part of theirs.

    Args:
        crop: Chooses the box; None for the whole image.
        size: (height, width) of the result; None for that of the image.
        flip: Probability of mirroring.
        key: A number for the sample and epoch.
        max_scale: Boxes are aligned for an image that is decoded at up to 1 / max_scale.
    """

    __slots__ = ("_crop", "_first", "_images", "_key", "_max_scale", "_size", "can_mirror", "cuts", "mirrored")

    def __init__(self, crop: Crop | None, size: tuple[int, int] | None, flip: float, key: int, max_scale: int) -> None:
        self._crop, self._size, self._key, self._max_scale = crop, size, key, max_scale
        self._first: tuple[int, int, Box] | None = None
        self._images: dict[str, tuple[int, int, int, Box]] = {}
        self.can_mirror = flip > 0
        self.cuts = self.can_mirror or crop is not None
        self.mirrored = flip > 0 and _uniform(key, _MIRROR) < flip

    def of(self, field: str) -> FieldFrame:
        """Return the frame as the image of one field gets it."""
        return FieldFrame(self, field)

    def box(self, height: int, width: int, orientation: int = UPRIGHT, *, field: str = "") -> Box:
        """Return which part of an upright image of this height and width is shown.

        Args:
            height, width: Size of the upright image.
            orientation: How it was made upright (EXIF 2.32, 4.6.5), which `geometries` tell labels.
            field: Name of the image, by which `geometries` tell of it.

        Raises:
            DecodeError: The image has another aspect ratio than the first one of the sample.
        """
        box = self._box(height, width)
        self._images[field] = height, width, orientation, box
        return box

    def _box(self, height: int, width: int) -> Box:
        if self._first is None:
            self._first = height, width, self._aligned(self._chosen(height, width))
        first_height, first_width, box = self._first
        if (height, width) == (first_height, first_width):
            return box
        if self._crop is None:
            return Box(0, 0, height, width)
        if abs(height * first_width - width * first_height) > max(first_height, first_width):
            raise DecodeError(
                f"images of a sample differ in shape: {first_height} x {first_width} and {height} x {width}; they "
                "cannot be cut alike, so decode one of them, or crop them in a transform"
            )
        return self._aligned(box.scaled(height / first_height, width / first_width, (height, width)))

    @property
    def geometries(self) -> dict[str, Geometry]:
        """The way from stored pixels to shown ones of each image, by its name."""
        return {field: self._geometry(*image) for field, image in self._images.items()}

    def _geometry(self, height: int, width: int, orientation: int, box: Box) -> Geometry:
        tall, wide = self._size or (box.height, box.width)
        left = width - box.left - box.width if self.mirrored else box.left
        target = Cutout(tall, wide, box.top, left, box.height, box.width)
        if self.mirrored:
            orientation = (orientation - 1 ^ 1) + 1  # 1 and 2, 3 and 4, ... mirror each other
        return Geometry(*turned_size(height, width, orientation), target, orientation)

    def _chosen(self, height: int, width: int) -> Box:
        if self._crop is None or self._size is None:
            return Box(0, 0, height, width)
        return self._crop.box(height, width, self._size, self._key)

    def _aligned(self, box: Box) -> Box:
        if self._crop is None or self._size is None:
            return box
        return box.aligned(power_below(box.height, box.width, self._size, self._max_scale))


@dataclass(frozen=True, slots=True)
class FieldFrame:
    """The frame of a sample as the image of one field gets it."""

    frame: Frame
    field: str

    @property
    def mirrored(self) -> bool:
        """Whether the image is mirrored."""
        return self.frame.mirrored

    def box(self, height: int, width: int, orientation: int = UPRIGHT) -> Box:
        """Return which part of the image is shown; see `Frame.box`."""
        return self.frame.box(height, width, orientation, field=self.field)


def frame_key(seed: int, epoch: int, position: int, *more: int) -> int:
    """Return the key of a sample's frame; `more` tells samples of one position apart, as `Sample.drawn_as` does."""
    return derive_key(seed, epoch, _PURPOSE, position, *more)


def power_below(height: int, width: int, size: Sequence[int], limit: int) -> int:
    """Return the largest of 1, 2, 4, 8, ... up to `limit` by which height and width can be divided and hold `size`."""
    spare, scale = min(height // size[0], width // size[1], limit), 1
    while 2 * scale <= spare:
        scale *= 2
    return scale


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(one, (int, float)) for one in value)


def _uniform(key: int, number: int) -> float:
    """Return a random number, 0 <= number < 1."""
    return (derive_key(key, number) >> 11) * 2.0**-53

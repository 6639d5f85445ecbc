"""`Resize`: from the size of an image to the size it is stored in, and the part of it that is kept. Pure integers.

    short=256            the short side becomes 256 pixels, the other follows
    long=512             the long side becomes 512 pixels, the other follows
    fit=640x480          as large as fits in width 640 and height 480
    cover=224x224        scaled until it covers width and height; what sticks out is cut off, equally on both sides
    exact=224x224        each side by itself, without keeping the aspect ratio

Images are never enlarged, unless `:up` is behind: `short=256:up`. An image that would have to grow keeps its size; with
`cover` it is still cut to the width and height, and with `exact` each side for itself is at most what it was. Sizes are
those of the upright image.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from shardpack.errors import OptionError

Mode = Literal["short", "long", "fit", "cover", "exact"]
MAX_SIDE = 65535  # of a JPEG (ITU-T T.81, B.2.2: 16 bits); others hold at most as much as is useful

_OPTION = re.compile(r"(?:(short|long)=([0-9]{1,9})|(fit|cover|exact)=([0-9]{1,9})x([0-9]{1,9}))(:up)?")
_EXPECTED = "expected short=N, long=N, fit=WxH, cover=WxH or exact=WxH in pixels, with :up behind to enlarge as well"


@dataclass(frozen=True, slots=True)
class Cutout:
    """The size of a result, and the part of the upright image that it shows.

    Attributes:
        height, width: Size of the result, at least 1.
        top, left: First row and column of the part.
        crop_height, crop_width: Size of the part.
    """

    height: int
    width: int
    top: int
    left: int
    crop_height: int
    crop_width: int

    @classmethod
    def unchanged(cls, height: int, width: int) -> Cutout:
        """Return the target that is the image itself."""
        return cls(height, width, 0, 0, height, width)


@dataclass(frozen=True, slots=True)
class Resize:
    """How images are resized.

    Attributes:
        mode: What `width` and `height` mean; see the module.
        width, height: Size in pixels; equal for "short" and "long".
        up: Whether images are enlarged, too.
    """

    mode: Mode
    width: int
    height: int
    up: bool = False

    @classmethod
    def parse(cls, text: str) -> Resize:
        """Return what "short=256", "cover=224x224:up" and the like say.

        Raises:
            OptionError: The text says something else, or a side is not from 1 to 65535 pixels.
        """
        found = _OPTION.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise OptionError(f"unknown resize {text!r}; {_EXPECTED}")
        side, both = found[1], found[3]
        width, height = (int(found[2]),) * 2 if side else (int(found[4]), int(found[5]))
        if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise OptionError(f"resize {text!r} is out of range: sides are from 1 to {MAX_SIDE} pixels")
        mode: Mode = side or both  # type: ignore[assignment]  # one of the names in the pattern
        return cls(mode, width, height, found[6] is not None)

    def __str__(self) -> str:
        size = f"{self.width}" if self.mode in {"short", "long"} else f"{self.width}x{self.height}"
        return f"{self.mode}={size}{':up' * self.up}"

    def target(self, height: int, width: int) -> Cutout:
        """Return what becomes of an image of a size.

        Args:
            height, width: Size of the upright image, at least 1.
        """
        if self.mode == "exact":
            wanted = (self.height, self.width) if self.up else (min(self.height, height), min(self.width, width))
            return Cutout(*wanted, 0, 0, height, width)
        if self.mode == "cover":
            return self._cover(height, width)
        by_width = {
            "short": width <= height,
            "long": width >= height,
            "fit": self.width * height <= self.height * width,  # the width is what limits
        }[self.mode]
        new, old = (self.width, width) if by_width else (self.height, height)
        if new >= old and not self.up:
            return Cutout.unchanged(height, width)
        if by_width:
            return Cutout(_scaled(height, new, old), new, 0, 0, height, width)
        return Cutout(new, _scaled(width, new, old), 0, 0, height, width)

    def _cover(self, height: int, width: int) -> Cutout:
        by_width = self.width * height >= self.height * width  # all of the width is kept
        new, old = (self.width, width) if by_width else (self.height, height)
        if new >= old and not self.up:  # nothing to scale: cut only
            part = min(self.height, height), min(self.width, width)
            result = part
        else:
            part = (_scaled(self.height, width, self.width), width) if by_width else (
                height, _scaled(self.width, height, self.height)
            )  # fmt: skip
            part = min(part[0], height), min(part[1], width)
            result = self.height, self.width
        return Cutout(*result, (height - part[0]) // 2, (width - part[1]) // 2, *part)


def _scaled(side: int, new: int, old: int) -> int:
    """Return side * new / old, rounded half up, at least 1."""
    return max(1, (2 * side * new + old) // (2 * old))

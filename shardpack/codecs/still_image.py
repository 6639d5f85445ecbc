"""`StillImage`: an image as it is stored, known by its header, and its pixels, decoded once and as small as will do.

What Pillow would only give in part is told apart here: 16-bit colour, of which it keeps 8 bits, and animations, of
which it shows the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.codecs.geometry import UPRIGHT, Geometry, turned_size
from shardpack.codecs.image import open_image, transposition
from shardpack.codecs.jpeg_turbo import decode_reduced
from shardpack.codecs.jxl import is_jxl, restore_jpeg
from shardpack.codecs.resize import Cutout

_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.5
_SCALES = (8, 4, 2)  # by which both libjpeg-turbo and Pillow's draft reduce quickly
_SPARE = 2  # what is left to the resizer at least, so that reducing does not show
_SEVERAL_PHOTOS = ("JPEG", "MPO")  # a JPEG with a preview or a second view behind it is still one image
_TIFF_WIDTH, _TIFF_HEIGHT, _BITS_PER_SAMPLE = 256, 257, 258  # TIFF 6.0, section 8
_EXTENSIONS = {"TIFF": "tif", "JPEG2000": "jp2"}


@dataclass(frozen=True, slots=True, eq=False)
class StillImage:
    """An image whose header was read.

    Attributes:
        payload: The bytes that were opened: of a JPEG XL, the JPEG that it was made from.
        opened: The PIL image, not loaded.
        extension: Usual extension of its format: "jpg", "png", "gif", ...
        height, width: Size of the stored image.
        orientation: EXIF orientation, 1 to 8.
        is_jxl: Whether it is stored as JPEG XL.
    """

    payload: bytes
    opened: Any
    extension: str
    height: int
    width: int
    orientation: int
    is_jxl: bool = False

    @classmethod
    def open(cls, payload: bytes) -> StillImage:
        """Return an image of any format that Pillow knows among those of `field_types.py`.

        Raises:
            DecodeError: It has more pixels than Pillow's limit, or is a JPEG XL that was not made from a JPEG.
            MissingDependencyError: It is a JPEG XL, and imagecodecs is not installed.
            Exception: Pillow raised an error of its own for garbage.
        """
        stored_as_jxl = is_jxl(payload)
        if stored_as_jxl:
            payload = restore_jpeg(payload, max_pixels())
        image = open_image(payload)
        orientation = orientation_of(image)
        height, width = image.height, image.width
        if image.format == "TIFF":  # newer versions of Pillow say the size of the upright image
            height, width = image.tag_v2[_TIFF_HEIGHT], image.tag_v2[_TIFF_WIDTH]
        return cls(
            payload,
            image,
            "jpg" if image.format in _SEVERAL_PHOTOS else _EXTENSIONS.get(image.format, image.format.lower()),
            height,
            width,
            orientation,
            stored_as_jxl,
        )

    @property
    def is_animated(self) -> bool:
        """Whether it has more than one frame or page."""
        return self.opened.format not in _SEVERAL_PHOTOS and bool(getattr(self.opened, "is_animated", False))

    @property
    def is_lossy(self) -> bool:
        """Whether its format has lost something already."""
        if self.extension == "webp":
            return not _has_chunk(self.payload, b"VP8L")
        return self.extension in {"jpg", "avif", "jp2"}

    @property
    def has_palette(self) -> bool:
        """Whether its pixels are numbers in a palette."""
        return self.opened.mode in {"P", "PA"}

    @property
    def turns_itself(self) -> bool:
        """Whether Pillow loads the image upright: of TIFFs it applies the orientation, of others it does not."""
        return bool(self.opened.format == "TIFF")

    @property
    def lost_bits(self) -> int | None:
        """Bits a channel, where Pillow would keep only 8 of them; None where it keeps all."""
        bits = self._bits()
        return bits if bits > 8 and not self.opened.mode.startswith(("I", "F")) else None

    def _bits(self) -> int:
        payload = self.payload
        match self.opened.format:
            case "PNG":
                return payload[24]  # ISO/IEC 15948, 11.2.2
            case "TIFF":
                return int(max(self.opened.tag_v2.get(_BITS_PER_SAMPLE, (8,))))
            case "PPM":
                arguments = self.opened.tile[0][3]
                most = arguments[-1] if isinstance(arguments, tuple) and type(arguments[-1]) is int else 255
                return int(most).bit_length()
            case "JPEG2000":
                at = payload.find(b"\xff\x51")  # SIZ: ISO/IEC 15444-1, A.5.1
                return (payload[at + 40] & 0x7F) + 1 if 0 <= at < len(payload) - 40 else 8
            case "AVIF":
                at = payload.find(b"av1C")  # AV1 in ISOBMFF, 2.3.3: high_bitdepth, twelve_bit
                flags = payload[at + 6] if 0 <= at < len(payload) - 6 else 0
                return (12 if flags & 0x20 else 10) if flags & 0x40 else 8
        return 8

    def geometry(self, target: Cutout | None = None) -> Geometry:
        """Return what happens to the pixels if the image is turned upright, and resized to a target."""
        upright = turned_size(self.height, self.width, self.orientation)
        return Geometry(self.height, self.width, target or Cutout.unchanged(*upright), self.orientation)

    def load(self, target: Cutout) -> tuple[Any, int]:
        """Return (loaded PIL image, upright; by how much its sides were divided): no larger than the target needs.

        A part of the last pixels is padding, where the size is not a multiple of the scale.

        Raises:
            Exception: Pillow raised an error of its own for garbage.
        """
        scale = self._scale(target)
        image = None
        if self.extension == "jpg":
            image = decode_reduced(self.payload, self.opened.mode, self.height, self.width, scale)
            if image is not None:
                image.info = dict(self.opened.info)
            elif scale > 1:
                self.opened.draft(None, (self.width // scale, self.height // scale))
        if image is None:
            image = self.opened
            image.load()
            if image.height == self.height:
                scale = 1
        return image if self.turns_itself else _turned(image, self.orientation), scale

    def _scale(self, target: Cutout) -> int:
        """Return by how much a JPEG may be reduced while it is decoded."""
        if self.extension != "jpg":
            return 1
        spare = min(target.crop_height // target.height, target.crop_width // target.width)
        turned = self.orientation != UPRIGHT  # then the padding must not come first
        return next(
            (
                scale
                for scale in _SCALES
                if scale * _SPARE <= spare and not (turned and (self.height % scale or self.width % scale))
            ),
            1,
        )


def _has_chunk(payload: bytes, wanted: bytes) -> bool:
    """Return whether a WebP has a chunk (RFC 9649, 2.3)."""
    at = 12
    while at + 8 <= len(payload):
        if payload[at : at + 4] == wanted:
            return True
        size = int.from_bytes(payload[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    return False


def orientation_of(image: Any) -> int:
    """Return the EXIF orientation of a PIL image, 1 to 8; 1 for numbers that mean nothing."""
    orientation = image.getexif().get(_ORIENTATION, UPRIGHT)
    return int(orientation) if orientation in range(1, 9) else UPRIGHT


def upright(image: Any) -> Any:
    """Return a loaded PIL image upright; its metadata no longer says that it is turned."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _turned(image: Any, orientation: int) -> Any:
    """Return an image upright."""
    if orientation == UPRIGHT:
        return image
    turned = image.transpose(transposition(orientation))
    turned.format = image.format
    return turned


def resized(image: Any, target: Cutout, scale: int = 1) -> Any:
    """Return the part of an upright PIL image that a target shows, resized by a bicubic filter with antialiasing.

    Args:
        image: As `colour.unpacked` returns it.
        target: The size and part, for the image at full size.
        scale: By how much its sides were divided when it was decoded.
    """
    if target == Cutout.unchanged(image.height, image.width):
        return image
    from PIL import Image

    box = (
        target.left / scale,
        target.top / scale,
        (target.left + target.crop_width) / scale,
        (target.top + target.crop_height) / scale,
    )
    size, method = (target.width, target.height), Image.Resampling.BICUBIC
    if image.mode != "I;16":
        return image.resize(size, method, box)
    deep = Image.fromarray(np.asarray(image).astype(np.float32)).resize(size, method, box)
    return Image.fromarray(np.clip(np.rint(np.asarray(deep)), 0, 65535).astype(np.uint16))


def pil_copy(value: Any) -> Any:
    """Return a PIL image, or an array that Pillow takes, as a PIL image of its own."""
    from PIL import Image

    return value.copy() if isinstance(value, Image.Image) else Image.fromarray(value)


def max_pixels() -> float:
    """Return how many pixels an image may have: Pillow's limit."""
    from PIL import Image

    return Image.MAX_IMAGE_PIXELS or float("inf")

"""How large an image is as it is stored, how it is turned, its format and mode: from the first bytes of its file.

No pixel is decoded.

JPEG, PNG, GIF, WebP and BMP, which are most of what there is, are read here in some microseconds; any other format is
opened by Pillow, which needs all of its bytes.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, field

from shardpack.codecs.geometry import UPRIGHT, turned_size
from shardpack.codecs.still_image import StillImage
from shardpack.errors import DecodeError, MissingDependencyError

# ITU-T T.81, table B.1: the markers of a frame header; C4, C8 and CC are others.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a segment
_END, _SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_ORIENTATION, _SHORT = 0x0112, 3  # EXIF 2.32, 4.6.5
_JPEG_MODES = {1: "L", 3: "RGB", 4: "CMYK"}  # by the number of components
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}  # by the colour type


@dataclass(frozen=True, slots=True)
class ImageSize:
    """The size of an image as it is stored.

    Attributes:
        width, height: In pixels.
        orientation: EXIF orientation, 1 to 8: how the pixels are turned where the image is shown.
        mode: Kind of its pixels, as Pillow calls it: "RGB", "L", "P", "CMYK", "RGBA", ...; by the header alone.
        format: As Pillow calls it: "JPEG", "PNG", ...
    """

    width: int
    height: int
    orientation: int = UPRIGHT
    mode: str = field(default="", compare=False)
    format: str = field(default="", compare=False)

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) as the image is shown."""
        height, width = turned_size(self.height, self.width, self.orientation)
        return width, height


def image_size(head: bytes, *, whole: bool) -> ImageSize | None:
    """Return the size of an image that begins with these bytes; None if more of them are needed.

    Args:
        head: The first bytes of the payload.
        whole: Whether they are all of it; then the size is returned, or an error raised.

    Raises:
        DecodeError: The bytes are not the beginning of an image, or end before its size.
    """
    try:
        size = _size(head, whole=whole)
    except (struct.error, IndexError):  # the bytes end within the header
        size = None
    if size is None and whole:
        raise DecodeError(f"not an image, or one that is cut short: its {len(head)} bytes do not tell its size")
    if size is not None and not (size.width > 0 and size.height > 0):
        raise DecodeError(f"the image says that it has {size.width} x {size.height} pixels")
    return size


def _size(head: bytes, *, whole: bool) -> ImageSize | None:
    if head.startswith(b"\xff\xd8"):
        return _of_jpeg(head)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):  # ISO/IEC 15948, 5.2 and 11.2.2: IHDR is the first chunk
        width, height, depth, kind = struct.unpack_from(">IIBB", head, 16)
        return ImageSize(width, height, mode=_png_mode(depth, kind), format="PNG")
    if head.startswith((b"GIF87a", b"GIF89a")):  # GIF89a, 18
        width, height = struct.unpack_from("<HH", head, 6)
        return ImageSize(width, height, mode="P", format="GIF")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP" and head[12:16] in _WEBP:
        return _of_webp(head)
    if head.startswith(b"BM"):
        return _of_bmp(head)
    return _by_pillow(head) if whole else None


def _png_mode(depth: int, kind: int) -> str:
    if kind == 0 and depth in {1, 16}:
        return "1" if depth == 1 else "I;16"
    return _PNG_MODES.get(kind, "")


def _of_jpeg(head: bytes) -> ImageSize | None:
    orientation, at = UPRIGHT, 2
    while at < len(head):
        if head[at] != 0xFF:
            raise DecodeError(f"damaged JPEG: expected a marker at byte {at}")
        marker = head[at + 1]
        if marker == 0xFF or marker in _ALONE:  # fill bytes: T.81, B.1.1.2
            at += 1 if marker == 0xFF else 2
            continue
        if marker in (_END, _SCAN):
            raise DecodeError(f"damaged JPEG: no frame header before byte {at}")
        (length,) = struct.unpack_from(">H", head, at + 2)
        if marker in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", head, at + 5)
            return ImageSize(width, height, orientation, _JPEG_MODES.get(components, ""), "JPEG")
        if marker == _APP1 and head[at + 4 : at + 10] == b"Exif\0\0":
            orientation = _orientation(head[at + 10 : at + 2 + length])
        at += 2 + max(length, 2)
    return None


def _orientation(exif: bytes) -> int:
    """Return the orientation that some EXIF data says; upright if it says nothing of use."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        for number in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, first + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else UPRIGHT
    except struct.error:
        pass
    return UPRIGHT


_WEBP = (b"VP8 ", b"VP8L", b"VP8X")


def _of_webp(head: bytes) -> ImageSize:
    kind = head[12:16]
    if kind == b"VP8X":  # RFC 9649, 2.7: flags, of which one is of alpha; two numbers of 24 bits, less one
        low = struct.unpack_from("<HBHB", head, 24)
        width, height, has_alpha = low[0] + (low[1] << 16) + 1, low[2] + (low[3] << 16) + 1, head[20] & 0x10
    elif kind == b"VP8L":  # RFC 9649, 3.4: after the signature 0x2F two numbers of 14 bits, less one; one bit of alpha
        (bits,) = struct.unpack_from("<I", head, 21)
        width, height, has_alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bits >> 28 & 1
    else:
        width, height = struct.unpack_from("<HH", head, 26)  # RFC 6386, 9.1: two numbers of 14 bits, and scales
        width, height, has_alpha = width & 0x3FFF, height & 0x3FFF, 0
    return ImageSize(width, height, mode="RGBA" if has_alpha else "RGB", format="WEBP")


def _of_bmp(head: bytes) -> ImageSize:
    (header,) = struct.unpack_from("<I", head, 14)
    if header == 12:  # OS/2
        width, height, _, bits = struct.unpack_from("<HHHH", head, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", head, 18)
    # A negative height says that the rows go down.
    return ImageSize(width, abs(height), mode="P" if bits <= 8 else "RGB", format="BMP")


def _by_pillow(payload: bytes) -> ImageSize:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            still = StillImage.open(payload)
    except (DecodeError, MissingDependencyError):
        raise
    except Exception as error:
        raise DecodeError(f"not an image that can be opened: {type(error).__name__}") from error
    return ImageSize(still.width, still.height, still.orientation, still.opened.mode, still.opened.format or "")

"""What a field's name says about its payload: whether it is an image, and whether its bytes agree."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from shardpack.errors import DecodeError
from shardpack.runtime.words import with_article

# First bytes by extension. Sources: JPEG ITU-T T.81 B.1.1.3 (SOI), PNG ISO/IEC 15948 5.2,
# GIF89a 17, WebP RFC 9649 2.4, BMP "BM", TIFF 6.0 section 2, JPEG 2000 ISO/IEC 15444-1 I.5.1,
# AVIF and HEIF ISO/IEC 14496-12 4.3 ("ftyp" at offset 4), JPEG XL ISO/IEC 18181-2 4.
_JPEG = (b"\xff\xd8\xff",)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JP2 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "jpg": _JPEG,
    "jpeg": _JPEG,
    "jfif": _JPEG,
    "png": (b"\x89PNG\r\n\x1a\n",),
    "gif": (b"GIF87a", b"GIF89a"),
    "webp": (b"RIFF",),
    "bmp": (b"BM",),
    "tif": _TIFF,
    "tiff": _TIFF,
    "jp2": _JP2,
    "avif": (),
    "heic": (),
    "heif": (),
    "jxl": (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"),
    "ppm": (b"P3", b"P6"),
    "pgm": (b"P2", b"P5"),
    "pbm": (b"P1", b"P4"),
}
SIGNATURE_BYTES = 12
IMAGE_EXTENSIONS = frozenset(SIGNATURES)
LABEL_FIELDS = frozenset({"json", "cls", "txt"})
MASK_NAMES = frozenset({"seg", "mask", "panoptic"})  # first parts of the names of fields whose pixels are numbers


def kind_of(field: str) -> str:
    """Return the kind of payload, the last part of a field's name: "png" for "seg.png"."""
    return field.rpartition(".")[2]


def is_image(field: str) -> bool:
    """Return whether a field holds an image, such as "jpg" or "seg.png"."""
    return kind_of(field) in IMAGE_EXTENSIONS


def is_mask(field: str) -> bool:
    """Return whether a field's name says that its pixels are numbers of classes, such as "seg.png"."""
    first, dot, _ = field.partition(".")
    return bool(dot) and first in MASK_NAMES


def signature_problem(field: str, head: bytes) -> str | None:
    """Return what is wrong with an image that begins with `head`, or None.

    Args:
        field: Field name; a field that is not an image has no problems.
        head: The first `SIGNATURE_BYTES` of the payload, or all of a shorter one.
    """
    extension = kind_of(field)
    if extension not in IMAGE_EXTENSIONS:
        return None
    if not head:
        return "an empty image"
    if _begins_like(extension, head):
        return None
    seen = next((other for other in SIGNATURES if _begins_like(other, head)), None)
    return f"does not begin like {with_article(extension)} image" + (f", but like {with_article(seen)}" if seen else "")


def _begins_like(extension: str, head: bytes) -> bool:
    if extension in ("avif", "heic", "heif"):
        return head[4:8] == b"ftyp"
    if extension == "webp":
        return head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(SIGNATURES[extension])


def parse_json(payload: bytes) -> Any:
    """Return the value of a JSON text as defined by RFC 8259: UTF-8, no byte order mark, no NaN or Infinity.

    Raises:
        DecodeError: The payload is not such a text; the message says where.
    """
    try:
        return _decode_json(payload.decode())
    except UnicodeDecodeError as error:
        raise DecodeError(f"not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from error


def opened(value: Any) -> Any:
    """Return the array or object that a text is as JSON; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return parse_json(value.encode())
        except (DecodeError, UnicodeEncodeError):
            return value
    return value


def _refuse_constant(text: str) -> NoReturn:
    raise DecodeError(f"{text} is not a JSON number; write null")


_decode_json = json.JSONDecoder(parse_constant=_refuse_constant).decode

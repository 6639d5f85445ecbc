"""JPEG XL as a lossless form of JPEGs (ISO/IEC 18181-2, 9.11): about 16 % smaller, and the very JPEG comes back.

By imagecodecs, from the extra `jxl`, which has libjxl. `djxl image.jxl image.jpg` restores a JPEG as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from shardpack.errors import DecodeError, MissingDependencyError

_CODESTREAM, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_SIDE_BITS = (9, 13, 18, 30)  # ISO/IEC 18181-1, D.2, with the ratios of width to height
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_BYTES_PER_PIXEL, _METADATA_BYTES = 4, 64 << 20  # more than any JPEG takes: what comes out of a small file is bounded


def is_jxl(payload: bytes) -> bool:
    """Return whether a payload begins like a JPEG XL."""
    return payload.startswith((_CODESTREAM, _CONTAINER))


def imagecodecs_module() -> Any:
    """Return the module imagecodecs.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import imagecodecs
    except ImportError as error:
        raise MissingDependencyError('jxl needs imagecodecs; run pip install "shardpack[jxl]"') from error
    return imagecodecs


def pack_jpeg(payload: bytes) -> bytes | None:
    """Return a JPEG as JPEG XL, made by one thread; None if it would not come back byte for byte.

    Raises:
        MissingDependencyError: imagecodecs is not installed.
    """
    module = imagecodecs_module()
    try:
        packed: bytes = module.jpegxl_encode_jpeg(payload, numthreads=1)
        restored = module.jpegxl_decode_jpeg(packed, numthreads=1)
    except (RuntimeError, ValueError):  # features of JPEG that libjxl does not take
        return None
    return packed if restored == payload else None


def restore_jpeg(payload: bytes, max_pixels: float = float("inf")) -> bytes:
    """Return the JPEG that a JPEG XL was made from.

    Args:
        payload: The JPEG XL.
        max_pixels: How many it may have; compared before anything is decoded.

    Raises:
        DecodeError: It is damaged, has more pixels, or was not made from a JPEG.
        MissingDependencyError: imagecodecs is not installed.
    """
    module = imagecodecs_module()
    height, width = jxl_size(payload)
    if height * width > max_pixels:
        raise DecodeError(f"JPEG XL has {width} x {height} pixels, more than {max_pixels:.0f}")
    try:
        restored: bytes = module.jpegxl_decode_jpeg(
            payload, numthreads=1, out=height * width * _BYTES_PER_PIXEL + _METADATA_BYTES
        )
    except (RuntimeError, ValueError) as error:
        raise DecodeError(f"JPEG XL is damaged, or was not made from a JPEG: {error}") from error
    return restored


def jxl_size(payload: bytes) -> tuple[int, int]:
    """Return (height, width) as the header says them.

    Raises:
        DecodeError: The header is damaged.
    """
    begin = next(_codestreams(payload), b"")
    if not begin.startswith(_CODESTREAM):
        raise DecodeError("JPEG XL is damaged: it has no header")
    bits = int.from_bytes(begin[2:], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        return 8 * (1 + take(5)) if is_small else 1 + take(_SIDE_BITS[take(2)])

    is_small = take(1)
    height, ratio = side(), take(3)
    if not ratio:
        return height, side()
    across, down = _RATIOS[ratio - 1]
    return height, height * across // down


def _codestreams(payload: bytes) -> Iterator[bytes]:
    """Yield the beginnings of all parts of the codestream (ISO/IEC 18181-2, 9)."""
    if payload.startswith(_CODESTREAM):
        yield payload[:12]
    at = len(_CONTAINER)
    while payload.startswith(_CONTAINER) and at + 8 <= len(payload):
        size, kind, head = int.from_bytes(payload[at : at + 4], "big"), payload[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(payload[at + 8 : at + 16], "big"), 16
        if kind in {b"jxlc", b"jxlp"}:
            begin = at + head + 4 * (kind == b"jxlp")  # behind the number of the part
            yield payload[begin : begin + 12]
        if size < head:  # to the end of the file, or damaged
            return
        at += size


def jxl_versions() -> dict[str, str]:
    """Return the versions that decide the bytes."""
    module = imagecodecs_module()
    return {"imagecodecs": str(module.__version__), "libjxl": str(module.jpegxl_version()).removeprefix("libjxl ")}

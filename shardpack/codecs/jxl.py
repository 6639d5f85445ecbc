"""JPEG XL as a lossless form of JPEGs (ISO/IEC 18181-2, 9.11): about 16 % smaller, and the very JPEG comes back.

By imagecodecs, from the extra `jxl`, which has libjxl. `djxl image.jxl image.jpg` restores a JPEG as well.
"""

from __future__ import annotations

from typing import Any

from shardpack.errors import DecodeError, MissingDependencyError

_SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")


def is_jxl(payload: bytes) -> bool:
    """Return whether a payload begins like a JPEG XL."""
    return payload.startswith(_SIGNATURES)


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


def restore_jpeg(payload: bytes) -> bytes:
    """Return the JPEG that a JPEG XL was made from.

    Raises:
        DecodeError: It is damaged, or was not made from a JPEG.
        MissingDependencyError: imagecodecs is not installed.
    """
    try:
        restored: bytes = imagecodecs_module().jpegxl_decode_jpeg(payload, numthreads=1)
    except (RuntimeError, ValueError) as error:
        raise DecodeError(f"JPEG XL is damaged, or was not made from a JPEG: {error}") from error
    return restored


def jxl_versions() -> dict[str, str]:
    """Return the versions that decide the bytes."""
    module = imagecodecs_module()
    return {"imagecodecs": str(module.__version__), "libjxl": str(module.jpegxl_version()).removeprefix("libjxl ")}

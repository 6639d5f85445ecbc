"""What a value of a row is, whatever its column: the payload of a field, a part of the labels, a key.

Payloads are told by their first bytes, and arrays by their shape. No payload is changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from shardpack.codecs.field_types import IMAGE_EXTENSIONS, SIGNATURES
from shardpack.errors import SourceError

_OTHERS = {
    b"\x93NUMPY": "npy",
    b"fLaC": "flac",
    b"OggS": "ogg",
    b"ID3": "mp3",
    b"%PDF-": "pdf",
}
_HEIF = {b"avif": "avif", b"avis": "avif", **dict.fromkeys((b"heic", b"heix", b"mif1", b"msf1", b"hevc"), "heic")}
# The others of the same family share their signatures with these.
_IMAGES = ("jpg", "png", "gif", "tif", "jp2", "jxl")


def extension_of(payload: bytes | memoryview) -> str | None:
    """Return the name of a payload's kind, such as "jpg", by its first bytes; None if they tell nothing."""
    head = bytes(payload[:16])
    for extension in _IMAGES:
        if head.startswith(SIGNATURES[extension]):
            return extension
    if head[:4] == b"RIFF":
        return {b"WEBP": "webp", b"WAVE": "wav"}.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _HEIF.get(head[8:12], "mp4")
    if head[:2] == b"BM" and len(payload) >= 14 and head[6:10] == b"\0\0\0\0":
        return "bmp"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3] in (b"\n", b" ", b"\t", b"\r"):
        return ("pbm", "pgm", "ppm")[(head[1] - ord("1")) % 3] if head[1:3].strip() else None
    return next((name for signature, name in _OTHERS.items() if head.startswith(signature)), None)


def is_payload(value: Any) -> bool:
    """Return whether a value is a field of its own instead of a part of the labels."""
    return bool(payloads_of("", value))


def payloads_of(name: str, value: Any, *, unwrap: bool = True, binary: bool = False) -> list[tuple[str, Any]]:
    """Return (field, payload) of a value whose field has this first part, or none; none for labels."""
    if _has_path(value):
        value = value["bytes"] or None
    if isinstance(value, (list, tuple)):
        return _list_payloads(name, value, unwrap=unwrap, binary=binary)
    extension, payload = None, value
    if is_bytes(value):
        extension = extension_of(value)
        if extension is None and (binary or _text_of(value) is None):
            extension = "bin"
        payload = bytes(value)
    elif isinstance(value, np.ndarray) and value.ndim > 1:
        extension = "npy"
    if extension is None:
        return []
    return [(extension if name in ("", extension) else f"{name}.{extension}", payload)]


def _list_payloads(name: str, values: Sequence[Any], *, unwrap: bool, binary: bool) -> list[tuple[str, Any]]:
    if unwrap and len(values) == 1:
        return payloads_of(name, values[0], binary=binary)
    if not all(is_bytes(value) or _has_path(value) for value in values):
        return []
    parts = [payloads_of("", value, binary=binary) for value in values]
    if not all(parts):
        return []
    prefix = f"{name}." if name else ""
    return [(f"{prefix}{number}.{field}", payload) for number, [(field, payload)] in enumerate(parts)]


def pixels_of(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return an array as the pixels of a PNG: height x width, perhaps x 1, 3 or 4; None for other arrays."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    grey, colours = array.ndim == 2, array.ndim == 3 and array.shape[2] in (3, 4)
    if array.dtype == np.uint8 and (grey or colours):
        return array
    return array if grey and array.dtype == np.uint16 else None


def key_text(value: Any) -> str | None:
    """Return the key that a text or integer stands for: a path loses the ending of an image; None for other values."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if is_bytes(value):
        value = _text_of(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        return None
    text = str(value).replace("\\", "/")
    while text.startswith(("./", "/")):
        text = text.partition("/")[2]
    stem, _, extension = text.rpartition(".")
    return stem if stem and extension.lower() in IMAGE_EXTENSIONS else text or None


def plain_value(value: Any, *, unwrap: bool = True) -> Any:
    """Return a value as JSON holds it: bytes as text, NaN as null, a list of one unwrapped if asked for."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if unwrap and isinstance(value, (list, tuple)) and len(value) == 1:
        return plain_value(value[0])
    return _inner(value)


def _inner(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return None
    if is_bytes(value):
        text = _text_of(value)
        if text is None:
            raise SourceError(f"{len(value)} bytes inside a list or map are neither an image nor UTF-8; leave them out")
        return text
    if isinstance(value, Mapping):
        return {str(_inner(key)): _inner(inner) for key, inner in value.items()}
    if isinstance(value, np.ndarray):
        return _inner(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_inner(inner) for inner in value]
    return value


def is_text(value: Any, *, unwrap: bool) -> bool:
    """Return whether a value is a text, or bytes, alone in an array, or with `unwrap` in a list of one."""
    if isinstance(value, np.ndarray) and value.size == 1 and (unwrap or not value.ndim):
        value = value.item()
    while unwrap and isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return isinstance(value, str) or is_bytes(value)


def is_bytes(value: Any) -> bool:
    """Return whether a value is bytes."""
    return isinstance(value, (bytes, bytearray, memoryview))


def path_of(value: Any) -> Any:
    """Return the path of an image with its path, as Hugging Face stores it; any other value as it is."""
    return value["path"] if _has_path(value) else value


def _has_path(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.keys() != {"bytes", "path"}:
        return False
    return value["bytes"] is None or is_bytes(value["bytes"])


def _text_of(value: bytes | bytearray | memoryview) -> str | None:
    """Return bytes as text, if they are one."""
    try:
        text = bytes(value).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text

"""Compressed fields: a field named `json.zst` or `json.gz` holds the compressed payload of a field `json`.

Written as one zstd frame (RFC 8878) with its content size and no checksum of its own; the index has one. Read: any
number of zstd frames or gzip members (RFC 1952), also without content size.

What a payload expands to is bounded before memory is taken for it: a few hundred bytes can hold a terabyte of zeros.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.zstd import zstandard, zstd_versions
from shardpack.errors import DecodeError, OptionError

SUFFIXES = ("zst", "gz")
DEFAULT_LEVEL = 3
MAX_LEVEL = 22
MAX_DECOMPRESSED_BYTES = 1 << 30  # of a field that is decoded; a larger one can still be read as it is stored

_EXPANSION = 32 << 10  # a block takes 4 bytes at least (RFC 8878, 3.1.1.2) and holds 128 KiB at most
_FED_BYTES = 1 << 10  # at once, so that what comes out at once is bounded, too: 32 MiB
_GZIP_READ_BYTES = 1 << 20
_UNKNOWN_BYTES = (1 << 64) - 1  # zstandard.CONTENTSIZE_UNKNOWN
_OPTION = re.compile(r"zstd(?::([0-9]{1,2}))?")


def split_compression(field: str) -> tuple[str, str | None]:
    """Return the name of the field that is compressed, and the suffix: ("json", "zst") for "json.zst".

    The suffix is None for a field that is not compressed.
    """
    plain, _, suffix = field.rpartition(".")
    return (plain, suffix) if plain and suffix in SUFFIXES else (field, None)


@dataclass(frozen=True, slots=True)
class Compression:
    """How fields are compressed when they are written: with zstd, at a level from 1 to 22."""

    level: int = DEFAULT_LEVEL
    suffix = "zst"

    @classmethod
    def parse(cls, text: str) -> Compression:
        """Return what "zstd" (level 3) or "zstd:9" says.

        Raises:
            OptionError: The text says something else.
        """
        found = _OPTION.fullmatch(text) if isinstance(text, str) else None
        level = int(found[1] or DEFAULT_LEVEL) if found else 0
        if not 1 <= level <= MAX_LEVEL:
            raise OptionError(f"unknown compression {text!r}; expected zstd, or zstd:LEVEL with a level from 1 to 22")
        return cls(level)

    def compress(self, payload: bytes) -> bytes:
        """Return the compressed payload: the same bytes for the same version of libzstd.

        Raises:
            MissingDependencyError: zstandard is not installed.
        """
        compressed: bytes = zstandard().ZstdCompressor(level=self.level, write_checksum=False).compress(payload)
        return compressed

    def describe(self) -> Mapping[str, Any]:
        """Return what decides the bytes: the level and the versions of the libraries.

        Raises:
            MissingDependencyError: zstandard is not installed.
        """
        return {"codec": "zstd", "level": self.level, **zstd_versions()}


def check_installed(suffix: str | None) -> None:
    """Raise MissingDependencyError unless fields with a suffix can be decompressed."""
    if suffix == "zst":
        zstandard()


def decompress(suffix: str, payload: bytes | memoryview, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes:
    """Return what a payload expands to. Safe in threads.

    Args:
        suffix: "zst" or "gz".
        payload: All frames or members.
        max_bytes: What they may expand to together.

    Raises:
        DecodeError: The payload is damaged or cut short, or expands to more.
        MissingDependencyError: zstandard is not installed.
    """
    return _decompress_gzip(payload, max_bytes) if suffix == "gz" else _decompress_zstd(payload, max_bytes)


def _too_large(max_bytes: int) -> DecodeError:
    return DecodeError(
        f"expands to more than {max_bytes} bytes; decompress the stored bytes yourself if you trust them"
    )


def _decompress_gzip(payload: bytes | memoryview, max_bytes: int) -> bytes:
    import gzip

    parts, left = [], max_bytes
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(payload)) as file:
            while part := file.read(min(_GZIP_READ_BYTES, left + 1)):
                parts.append(part)
                left -= len(part)
                if left < 0:
                    raise _too_large(max_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DecodeError(f"not gzip: {error}") from error
    if not payload:
        raise DecodeError("not gzip: empty")
    return b"".join(parts)


_idle: list[Any] = []  # decompressors: making one takes longer than 50 KB (34 us, 2-core VM)


def _decompress_zstd(payload: bytes | memoryview, max_bytes: int) -> bytes:
    module = zstandard()
    try:
        decompressor = _idle.pop()  # one thread at a time may use it
    except IndexError:
        decompressor = module.ZstdDecompressor()
    try:
        size = module.get_frame_parameters(payload).content_size
        if size != _UNKNOWN_BYTES:
            if size > max_bytes:
                raise _too_large(max_bytes)
            if size > len(payload) * _EXPANSION:
                raise DecodeError(f"not zstd: {len(payload)} bytes cannot hold {size}")
        if size not in {0, _UNKNOWN_BYTES}:  # 0 is also said of frames that readers skip
            try:
                whole: bytes = decompressor.decompress(payload, allow_extra_data=False)
            except module.ZstdError:
                pass  # several frames, or damage
            else:
                return whole
        return _decompress_frames(decompressor, payload, max_bytes)
    except module.ZstdError as error:
        raise DecodeError(f"not zstd: {error}") from error
    finally:
        _idle.append(decompressor)


def _decompress_frames(decompressor: Any, payload: bytes | memoryview, max_bytes: int) -> bytes:
    """Return the content of all frames, fed in small pieces."""
    parts, left, at = [], max_bytes, 0
    view = memoryview(payload)
    while at < len(view):
        frame = decompressor.decompressobj()
        while not frame.eof:
            if at == len(view):
                raise DecodeError("not zstd: cut short")
            fed = view[at : at + _FED_BYTES]
            part = frame.decompress(fed)
            parts.append(part)
            at += len(fed)
            left -= len(part)
            if left < 0:
                raise _too_large(max_bytes)
        at -= len(frame.unused_data)
    return b"".join(parts)

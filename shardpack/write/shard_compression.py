"""How shards are compressed: options as users write them, and what the manifest keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.compression import DEFAULT_LEVEL, Compression
from shardpack.codecs.zstd import zstd_versions
from shardpack.errors import OptionError
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.sizes import parse_bytes
from shardpack.write.compress_fields import SHARDS

DEFAULT_FRAME_BYTES = 16 << 10
MAX_WRITTEN_FRAME_BYTES = 64 << 20  # SPEC 2.6: a longer sample is cut


@dataclass(frozen=True, slots=True)
class ShardCompression:
    """Zstandard, in frames of whole samples.

    Attributes:
        level: 1 to 22; more is smaller and slower to write.
        frame_bytes: A frame ends with the first sample that brings it to this many bytes of the plain tar.
    """

    level: int = DEFAULT_LEVEL
    frame_bytes: int = DEFAULT_FRAME_BYTES

    def versions(self) -> dict[str, str]:
        """Return the versions of what makes the bytes.

        Raises:
            MissingDependencyError: The package zstandard is not installed.
        """
        return zstd_versions()


def shard_compression(compress: Mapping[str, str] | None, frame_bytes: Any = None) -> ShardCompression | None:
    """Return how shards are to be compressed; None if they are not.

    Args:
        compress: `{"shards": "zstd:3"}`, perhaps with fields besides, or None.
        frame_bytes: Size of a frame, in bytes or like "16KiB"; None for the default.

    Raises:
        OptionError: An option is out of range, or means nothing without another one.
    """
    # Fields are checked by `CompressFields`.
    if not isinstance(compress, Mapping) or SHARDS not in compress:
        if frame_bytes is not None:
            raise OptionError(
                'frame_bytes is for compressed shards; pass compress={"shards": "zstd:3"} (--compress shards=zstd:3) '
                "as well"
            )
        return None
    level = Compression.parse(compress[SHARDS]).level
    if frame_bytes is None:
        return ShardCompression(level)
    size = as_integer("frame_bytes", parse_bytes(frame_bytes), minimum=1, maximum=MAX_WRITTEN_FRAME_BYTES)
    return ShardCompression(level, size)


def recorded_compression(compression: ShardCompression | None) -> dict[str, str]:
    """Return the entry of the manifest's `compress` for whole shards."""
    return {} if compression is None else {SHARDS: f"zstd:{compression.level}"}

"""One shard as the shard table lists it, and the names that shards may have (SPEC 6.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_NAME_LENGTH = 1024
MAX_COUNT = (1 << 63) - 1  # of bytes or samples, in a shard and in all

# Shard names lead nowhere but into the dataset's folder, on any system: components parted by "/",
# none of them empty, and none that ends in a dot or a blank (Windows drops these, so that ".. "
# would be ".."); no drive letter, backslash, control character or lone surrogate.
_COMPONENT = r"[^/\\\x00-\x1f\x7f\ud800-\udfff]*[^/\\\x00-\x20\x7f\ud800-\udfff.]"
_SHARD_NAME = re.compile(rf"(?!.:){_COMPONENT}(?:/{_COMPONENT})*")


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as the shard table lists it."""

    name: str
    num_samples: int
    num_bytes: int  # of the finished tar
    crc32c: int | None  # of the whole tar; None if it was indexed without reading its payloads
    index_bytes: int
    index_crc32c: int
    samples_per_field: Mapping[str, int]
    location: int = 0  # where the tar is: a number into the manifest's list

    @property
    def index_name(self) -> str:
        """Name of the sidecar index."""
        return index_name(self.name)


def index_name(shard: str) -> str:
    """Return the name of a shard's sidecar: `x.tar` has `x.index`."""
    return shard.removesuffix(".tar") + ".index"


def is_shard_name(name: str) -> bool:
    """Return whether a shard may have this name."""
    return len(name) <= MAX_NAME_LENGTH and _SHARD_NAME.fullmatch(name) is not None

"""One shard as the shard table lists it, and the names that shards may have (SPEC 6.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shardpack.errors import FormatError
from shardpack.format.layout import index_path

MAX_NAME_LENGTH = 1024
MAX_COUNT = (1 << 63) - 1  # bytes or samples, per shard and in total

# A shard name cannot lead out of the dataset's folder, on any system. Its components are separated by "/",
# not empty, and do not end in a dot or a space (Windows drops these, so that ".. " would be ".."); it has no
# drive letter, backslash, control character or lone surrogate.
_COMPONENT = r"[^/\\\x00-\x1f\x7f\ud800-\udfff]*[^/\\\x00-\x20\x7f\ud800-\udfff.]"
# Shards may not be in `.shardpack`, in any spelling that a file system without case takes for it.
_SHARD_NAME = re.compile(rf"(?!.:)(?!(?i:\.shardpack)(?:/|$)){_COMPONENT}(?:/{_COMPONENT})*")


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as the shard table lists it."""

    name: str
    num_samples: int
    num_bytes: int  # length of the file: the tar, or the compressed tar
    crc32c: int | None  # of the whole file, or None if it was indexed without reading its payloads
    index_bytes: int
    index_crc32c: int
    samples_per_field: Mapping[str, int]
    location: int = 0  # index into the manifest's locations

    @property
    def index_path(self) -> str:
        """Path of the shard's index file."""
        return index_path(self.name, self.location)


def repeated_name(shards: Iterable[ShardInfo]) -> str | None:
    """Return the name of the first shard whose index has the path of an earlier one's, or None."""
    paths: set[str] = set()
    for info in shards:
        if info.index_path in paths:
            return info.name
        paths.add(info.index_path)
    return None


def samples_per_field(infos: Iterable[ShardInfo]) -> dict[str, int]:
    """Return how many samples of all these shards have each field, sorted by field."""
    totals: dict[str, int] = {}
    for info in infos:
        for name, count in info.samples_per_field.items():
            totals[name] = totals.get(name, 0) + count
    return dict(sorted(totals.items()))


def record_of(info: ShardInfo) -> dict[str, Any]:
    """Return a shard as a JSON object, with checksums in hexadecimal."""
    record = asdict(info)
    record["crc32c"] = None if info.crc32c is None else f"{info.crc32c:08x}"
    record["index_crc32c"] = f"{info.index_crc32c:08x}"
    return record


def info_of(record: Mapping[str, Any]) -> ShardInfo:
    """Return the shard that a JSON object describes; the inverse of `record_of`.

    Raises:
        FormatError, ValueError, TypeError: The object was not made by `record_of`.
    """
    checksum = record.get("crc32c")
    info = ShardInfo(
        **{
            **record,
            "crc32c": None if checksum is None else int(checksum, 16),
            "index_crc32c": int(record.get("index_crc32c", ""), 16),
        }
    )
    numbers = (info.num_samples, info.num_bytes, info.index_bytes, info.location, *info.samples_per_field.values())
    if not is_shard_name(info.name) or not all(type(number) is int and number >= 0 for number in numbers):
        raise FormatError("a journal entry does not describe a shard; run the command again")
    return info


def is_shard_name(name: str) -> bool:
    """Return whether a shard may have this name."""
    return len(name) <= MAX_NAME_LENGTH and _SHARD_NAME.fullmatch(name) is not None

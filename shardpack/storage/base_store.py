"""What a store does that has nothing better to offer: whole objects by range, no maps, no hints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from shardpack.errors import CorruptShardError
from shardpack.runtime.sizes import format_bytes
from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import Ranges, Version
from shardpack.storage.stats import ReadStats


class BaseStore:
    """The parts of `Store` that follow from `get_range` and `size`. A store overrides what it can do better."""

    merge_limits = MergeLimits(max_gap_bytes=0, max_request_bytes=0)
    checks_reads = False
    remote = False
    prefetch_depth = 0
    folder: str | None = None
    part_bytes = 0

    def __init__(self, location: str) -> None:
        self.location, self.stats = location, ReadStats()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `RangeReader.get_range`."""
        raise NotImplementedError(f"{type(self).__name__} reads no ranges")

    def size(self, path: str) -> int:
        """See `RangeReader.size`."""
        raise NotImplementedError(f"{type(self).__name__} knows no sizes")

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `RangeReader.get_ranges`. One after the other."""
        return [self.get_range(path, start=a, length=n) for a, n in zip(starts, lengths, strict=True)]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `Store.get_many`. One object after the other."""
        return [self.get_ranges(ranges.path, starts=ranges.starts, lengths=ranges.lengths) for ranges in wanted]

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """See `Store.get_pooled_range`. The range as it is."""
        return self.get_range(path, start=start, length=length)

    def version(self, path: str) -> Version:
        """See `Store.version`. The length is all there is."""
        return Version(self.size(path), "")

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """See `Store.buffer`. Read as one range."""
        size = self.size(path)
        check_size(path, size, max_bytes)
        return self.get_range(path, start=0, length=size)

    def map(self, path: str) -> Any | None:
        """See `Store.map`. There is no such thing here."""
        self.size(path)
        return None

    def is_cached(self, path: str, start: int) -> bool:  # noqa: ARG002 - the protocol's names
        """See `Store.is_cached`. Nothing is."""
        return False

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """See `Store.prefetch`. Does nothing."""

    def close(self) -> None:
        """See `Store.close`. Nothing is open."""


def check_size(path: str, size: int, max_bytes: int | None) -> None:
    """Raise unless an object may be read whole.

    Raises:
        CorruptShardError: It has more than `max_bytes`.
    """
    if max_bytes is not None and size > max_bytes:
        raise CorruptShardError(
            f"object is too large: expected at most {format_bytes(max_bytes)}, it has {format_bytes(size)}; restore it",
            path=path,
        )


def raise_truncated(path: str, start: int, length: int, size: int) -> NoReturn:
    """Raise for a range that ends beyond its object.

    Raises:
        CorruptShardError: Always.
    """
    raise CorruptShardError(
        f"shard is truncated: expected bytes up to {start + length}, it has {size}; "
        'restore it, then run "shardpack verify"',
        path=path,
        offset=start,
    )

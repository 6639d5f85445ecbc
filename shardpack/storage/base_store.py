"""Default behaviour of a store: whole objects are read as one range; no maps, no prefetching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from shardpack.errors import CorruptShardError, ObjectTooLargeError
from shardpack.runtime.sizes import format_bytes
from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import Ranges, Store, Version
from shardpack.storage.stats import ReadStats


class BaseStore:
    """The part of `Store` that follows from `get_range` and `size`. Subclasses override what they can do better."""

    merge_limits = MergeLimits(max_gap_bytes=0, max_request_bytes=0)
    checks_reads = False
    remote = False
    prefetch_depth = 0
    folder: str | None = None
    part_bytes = 0
    origin: object = None  # the object that `adapt` made this store of

    def __init__(self, location: str) -> None:
        self.location, self.stats = location, ReadStats()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.location!r})"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        raise NotImplementedError(f"{type(self).__name__} reads no ranges")

    def size(self, path: str) -> int:
        raise NotImplementedError(f"{type(self).__name__} knows no sizes")

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return the ranges, read one after the other."""
        return [self.get_range(path, start=a, length=n) for a, n in zip(starts, lengths, strict=True)]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of all objects, read one object after the other."""
        return [self.get_ranges(ranges.path, starts=ranges.starts, lengths=ranges.lengths) for ranges in wanted]

    def each_part(self, path: str, edges: Sequence[int]) -> Iterator[bytes]:
        """Yield the ranges between edges, read one by one."""
        return (self.get_range(path, start=begin, length=end - begin) for begin, end in pairwise(edges))

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """Return a range, in memory of its own."""
        return self.get_range(path, start=start, length=length)

    def version(self, path: str) -> Version:
        """Return an object's version, which is only its length."""
        return Version(self.size(path), "")

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return a whole object, read as one range."""
        size = self.size(path)
        check_size(path, size, max_bytes)
        return self.get_range(path, start=0, length=size)

    def map(self, path: str) -> Any | None:
        """Return None: the store has no maps. Raises if the object does not exist."""
        self.size(path)
        return None

    def is_cached(self, path: str, start: int) -> bool:  # noqa: ARG002 - the protocol's names
        """Return False: nothing is cached."""
        return False

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing: the store has no open resources."""


class Wrapper(BaseStore):
    """The part of a store that reads through another one and costs what that costs."""

    def __init__(self, base: Store) -> None:
        super().__init__(base.location)
        self._base, self.stats = base, base.stats
        self.remote, self.prefetch_depth = base.remote, base.prefetch_depth
        self.merge_limits, self.checks_reads = base.merge_limits, base.checks_reads

    def close(self) -> None:
        """Close the other store."""
        self._base.close()


def check_size(path: str, size: int, max_bytes: int | None) -> None:
    """Raise if an object is too large to be read as a whole.

    Raises:
        ObjectTooLargeError: The object has more than `max_bytes`.
    """
    if max_bytes is not None and size > max_bytes:
        raise ObjectTooLargeError(
            f"file is too large: expected at most {format_bytes(max_bytes)}, it has {format_bytes(size)}; restore it",
            path=path,
        )


def raise_truncated(path: str, start: int, length: int, size: int) -> NoReturn:
    """Raise the error for a range that ends beyond its object.

    Raises:
        CorruptShardError: Always.
    """
    raise CorruptShardError(
        f"file is truncated: expected bytes up to {start + length}, it has {size}; "
        'restore it, then run "shardpack verify"',
        path=path,
        offset=start,
    )

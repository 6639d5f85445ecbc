"""What a store offers. Ranges are half-open: `start`, `length`.

`RangeReader` is all that reading requires of an object. `adapter.adapt` turns one into a `Store`, the interface
that the library works with; a `WritableStore` can also be written to. Nothing above `storage/` asks for the class
of a store: whatever it must know is a property here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.stats import ReadStats


@dataclass(frozen=True, slots=True)
class Ranges:
    """Half-open ranges of one object, in any order."""

    path: str
    starts: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True, slots=True)
class Version:
    """Distinguishes an object from a later one of the same name; `etag` is "" if the store has none."""

    size: int
    etag: str


@dataclass(frozen=True, slots=True, order=True)
class Listed:
    """An object as a listing tells of it.

    Attributes:
        path: Its name.
        num_bytes: Its length; 0 if the listing does not tell.
        modified: When it was written, in seconds since 1970; None if the listing does not tell.
    """

    path: str
    num_bytes: int = 0
    modified: float | None = None


class RangeReader(Protocol):
    """Reads parts of named objects. Safe in threads."""

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`. A length of 0 returns b"" for any `start`.

        Raises:
            ShardNotFoundError: The object does not exist.
            CorruptShardError: The object ends before the range does.
            StorageError: The store refused.
        """
        ...

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return each range, in the order given; the store may read them concurrently."""
        ...

    def size(self, path: str) -> int:
        """Return the object's length in bytes; raises as `get_range`."""
        ...


class Store(RangeReader, Protocol):
    """The interface that the library reads through. Safe in threads; picklable, without any open resource.

    Attributes:
        location: Folder or URL, without secrets; for messages, and to resolve relative locations.
        stats: What reading has cost.
        remote: Whether a read waits for a network.
        prefetch_depth: Number of requests that should be in flight before their bytes are needed. 0: the
            kernel reads ahead, and `prefetch` tells it what will be needed.
        folder: The local folder whose files the objects are; None if they are not local files.
        merge_limits: Which ranges should be merged into one request, given what a request costs.
        checks_reads: Whether payload checksums should be checked by default.
    """

    @property
    def location(self) -> str: ...

    @property
    def stats(self) -> ReadStats: ...

    @property
    def remote(self) -> bool: ...

    @property
    def prefetch_depth(self) -> int: ...

    @property
    def folder(self) -> str | None: ...

    @property
    def merge_limits(self) -> MergeLimits: ...

    @property
    def checks_reads(self) -> bool: ...

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of several objects, in the order given; the store may read them concurrently."""
        ...

    def each_part(self, path: str, edges: Sequence[int]) -> Iterator[bytes]:
        """Yield the range from each edge to the next, all ascending, each when it is asked for. Raises as `get_range`.

        The store may read several at once, as long as they stay in the processor's caches.
        """
        ...

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """Return a range as a buffer whose slices are `bytes` and whose memory may be reused once it is released.

        For blocks out of which many payloads are cut. Raises as `get_range`.
        """
        ...

    def version(self, path: str) -> Version:
        """Return the version of the object that this store reads; costs as much as `size`."""
        ...

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return a whole object as a buffer: a memory map if the store has one, otherwise bytes.

        Raises:
            ObjectTooLargeError: The object is longer than `max_bytes`. Nothing was read into memory.
        """
        ...

    def map(self, path: str) -> Any | None:
        """Return the whole object as a buffer that later reads may slice, or None if the store cannot map it."""
        ...

    def is_cached(self, path: str, start: int) -> bool:
        """Return whether reading at `start` through a map would return without waiting."""
        ...

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Announce ranges that will be read through a map; returns immediately."""
        ...

    def close(self) -> None:
        """Release threads, connections and descriptors; a later read opens again what it needs."""
        ...


class WritableStore(Store, Protocol):
    """A store that can be written to. An object appears whole or not at all.

    Attributes:
        can_create: Whether `create` is available: of two writers of one name, only one succeeds.
        part_bytes: Size of the parts in which long files are uploaded; 0 if there are no parts.
    """

    @property
    def can_create(self) -> bool: ...

    @property
    def part_bytes(self) -> int: ...

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """Store bytes or a local file under a name, replacing any object of that name.

        Args:
            path: The name.
            source: Bytes, or a file of this machine.
            cache_control: Header with which a bucket serves the object, such as "no-cache"; other
                stores ignore it.

        Raises:
            StorageError: The store refused, or cannot be written to.
        """
        ...

    def create(self, path: str, source: bytes | Path) -> None:
        """Store bytes or a local file under a name that is still free; atomic, for small objects.

        Raises:
            OutputExistsError: The name is taken; its object is unchanged.
            StorageError: The store refused, or lacks this operation (`can_create`).
        """
        ...

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        ...

    def names(self) -> list[str]:
        """Return the names of all objects, sorted. Names of objects in subfolders contain slashes."""
        ...

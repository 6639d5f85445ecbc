"""What a store offers. Ranges are half-open: `start`, `length`.

`RangeReader` is all that reading asks of an object; `adapter.adapt` makes a `Store` of it, which is what the
library works with, and a `WritableStore` where it can be written to. Nothing above `storage/` asks what
class a store is: what it needs to know is a property here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.stats import ReadStats


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges wanted of one object: half-open, in any order."""

    path: str
    starts: Sequence[int]
    lengths: Sequence[int]


@dataclass(frozen=True, slots=True)
class Version:
    """What tells an object from one that takes its name later; `etag` is "" where the store gives none."""

    size: int
    etag: str


class RangeReader(Protocol):
    """Read parts of named objects, from many threads at once."""

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; b"" for none, wherever that is.

        Raises:
            ShardNotFoundError: There is no such object.
            CorruptShardError: The object ends before the range does.
            StorageError: The store refused.
        """
        ...

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return each range, in the order asked; the store may read them all at once."""
        ...

    def size(self, path: str) -> int:
        """Return the object's length in bytes; raises as `get_range`."""
        ...


class Store(RangeReader, Protocol):
    """What the library asks of a store. Safe in threads; picklable; holds nothing after unpickling.

    Attributes:
        location: Folder or URL, without secrets; for people, and to find what lies beside.
        stats: What reading has cost.
        remote: Whether a read waits for a network.
        prefetch_depth: Requests worth having under way before their bytes are needed. 0: reading
            ahead is the kernel's business, `prefetch` tells it what will be needed.
        folder: The local folder whose files the objects are; None where they are no local files.
        merge_limits: What is worth merging into one request, at what a request costs here.
        checks_reads: Whether payload checksums are worth checking by default.
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
        """Return the ranges of several objects, in the order asked; the store may read them all at once."""
        ...

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """Return a range as a buffer whose slices are `bytes`; its memory may be used again once it is let go of.

        For blocks that many payloads are cut out of. Raises as `get_range`.
        """
        ...

    def version(self, path: str) -> Version:
        """Return the version of an object that this store reads; costs as `size`."""
        ...

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return a whole object as a buffer: a memory map where the store has one, else bytes.

        Raises:
            CorruptShardError: The object has more than `max_bytes`; none of them was read into memory.
        """
        ...

    def map(self, path: str) -> Any | None:
        """Return a buffer of the object that later reads may slice, or None if there is no such thing."""
        ...

    def is_cached(self, path: str, start: int) -> bool:
        """Return whether reading at `start` through a map would not wait."""
        ...

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Announce ranges that will be read through a map; returns at once."""
        ...

    def close(self) -> None:
        """Let go of threads, connections and descriptors; a later read opens what it needs again."""
        ...


class WritableStore(Store, Protocol):
    """A store that can be written to. Objects appear whole or not at all.

    Attributes:
        can_create: Whether there is `create`: two writers of one name cannot both succeed.
    """

    @property
    def can_create(self) -> bool: ...

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """Store bytes, or a local file, under a name; replaces what was there.

        Args:
            path: The name.
            source: Bytes, or a file of this machine.
            cache_control: Header that a bucket serves the object with, such as "no-cache"; other
                stores have no such thing and pass it over.

        Raises:
            StorageError: The store refused, or cannot be written to.
        """
        ...

    def create(self, path: str, source: bytes | Path) -> None:
        """Store bytes, or a local file, under a name that is not taken yet; atomic, for small objects.

        Raises:
            OutputExistsError: There is such an object; it is as it was.
            StorageError: The store refused, or does not offer this (`can_create`).
        """
        ...

    def delete(self, path: str) -> None:
        """Delete an object; it is fine if there is none."""
        ...

    def names(self) -> list[str]:
        """Return the names of all objects, sorted; those in folders below with their slashes."""
        ...

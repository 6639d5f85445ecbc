"""What a store offers, one protocol a need. Ranges are half-open: `start`, `length`."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shardpack.storage.coalesce import MergeLimits


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges wanted of one object: half-open, in any order."""

    path: str
    starts: Sequence[int]
    lengths: Sequence[int]


class RangeReader(Protocol):
    """Read parts of named objects. Safe in threads; picklable; holds nothing after unpickling."""

    location: str
    remote: bool  # whether a read waits for a network: it pays to have many under way
    merge_limits: MergeLimits  # what is worth merging at this store's cost of a request
    checks_reads: bool  # whether payload checksums are worth checking by default
    stats: ReadStats

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

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of several objects, in the order asked; the store may read them all at once."""
        ...

    def size(self, path: str) -> int:
        """Return the object's length in bytes; raises as `get_range`."""
        ...

    def buffer(self, path: str) -> Any:
        """Return a whole object as a buffer: a memory map where the store has one, else bytes."""
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


class ObjectStore(RangeReader, Protocol):
    """A store that can be written to. Objects appear whole or not at all."""

    def put(self, path: str, source: bytes | Path) -> None:
        """Store bytes, or a local file, under a name; replaces what was there.

        Raises:
            StorageError: The store refused, or cannot be written to.
        """
        ...

    def delete(self, path: str) -> None:
        """Delete an object; it is fine if there is none."""
        ...

    def names(self) -> list[str]:
        """Return the names of all objects, sorted; those in folders below with their slashes."""
        ...


@dataclass(frozen=True, slots=True)
class Stats:
    """What reading has cost so far.

    Attributes:
        requests: Ranges and whole objects read from the store. Reads through a map cost none.
        bytes_fetched: Bytes of those requests.
        bytes_used: Payload bytes handed out from them; less than fetched where gaps were read over.
        cache_hits: Ranges served from a cache on the disk, without the store.
        retries: Requests made again because they failed; each is counted once in `requests` all the same.
    """

    requests: int = 0
    bytes_fetched: int = 0
    bytes_used: int = 0
    cache_hits: int = 0
    retries: int = 0


_live: weakref.WeakSet[ReadStats] = weakref.WeakSet()


def _renew_locks() -> None:
    """Give a forked child locks of its own: a thread that does not exist there may have held one."""
    for stats in list(_live):
        stats.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


class ReadStats:
    """Counters that many threads add to. Pickles as zero."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _live.add(self)
        self._requests = self._fetched = self._used = self._hits = self._retries = 0

    def renew_lock(self) -> None:
        """Replace the lock, in a child that may have inherited it locked."""
        self._lock = threading.Lock()

    def add_requests(self, count: int, num_bytes: int) -> None:
        with self._lock:
            self._requests += count
            self._fetched += num_bytes

    def add_used(self, num_bytes: int) -> None:
        with self._lock:
            self._used += num_bytes

    def add_hits(self, count: int) -> None:
        with self._lock:
            self._hits += count

    def add_retry(self) -> None:
        with self._lock:
            self._retries += 1

    def snapshot(self) -> Stats:
        """Return the counters as they are now."""
        with self._lock:
            return Stats(self._requests, self._fetched, self._used, self._hits, self._retries)

    def __reduce__(self) -> tuple[type[ReadStats], tuple[()]]:
        return (ReadStats, ())

"""What a store offers, one protocol a need. Ranges are half-open: `start`, `length`."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shardpack.plan.coalesce import MergeLimits


class RangeReader(Protocol):
    """Read parts of named objects. Safe in threads; picklable; holds nothing after unpickling."""

    location: str
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


@dataclass(frozen=True, slots=True)
class Stats:
    """What reading has cost so far.

    Attributes:
        requests: Ranges and whole objects read from the store. Reads through a map cost none.
        bytes_fetched: Bytes of those requests.
        bytes_used: Payload bytes handed out from them; less than fetched where gaps were read over.
        cache_hits: Reads served without the store.
    """

    requests: int = 0
    bytes_fetched: int = 0
    bytes_used: int = 0
    cache_hits: int = 0


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
        self._requests = self._fetched = self._used = 0

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

    def snapshot(self) -> Stats:
        """Return the counters as they are now."""
        with self._lock:
            return Stats(self._requests, self._fetched, self._used)

    def __reduce__(self) -> tuple[type[ReadStats], tuple[()]]:
        return (ReadStats, ())

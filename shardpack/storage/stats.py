"""Counters of what reading has cost, shared by many threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from shardpack.runtime.process import watch_forks


@dataclass(frozen=True, slots=True)
class Stats:
    """What reading has cost so far.

    Attributes:
        requests: Ranges and whole objects read from the store. Reads through a map cost none.
        bytes_fetched: Bytes of those requests.
        bytes_used: Payload bytes returned from them; fewer than fetched if gaps were read too.
        cache_hits: Ranges served from the cache on disk, without a request.
        retries: Repeated attempts at failed requests; `requests` counts such a request once.
    """

    requests: int = 0
    bytes_fetched: int = 0
    bytes_used: int = 0
    cache_hits: int = 0
    retries: int = 0


class ReadStats:
    """Counters that many threads increment. Pickles as zero."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        watch_forks(self)
        self._requests = self._fetched = self._used = self._hits = self._retries = 0

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
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

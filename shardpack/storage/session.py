"""What a remote store holds in one process: its client, its threads, and how hard it may press the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import random
from typing import Any

from shardpack.errors import StorageError
from shardpack.runtime.fork import watch_forks
from shardpack.runtime.threads import Threads
from shardpack.storage.clients.client import Client, Connection
from shardpack.storage.retry import RetryLimits

_LARGE_BYTES = 1 << 20
_LOOK_SECONDS = 0.25  # how often a pause looks whether there is anybody left to wait for it


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """What a store may take of the network.

    Attributes:
        max_requests: At once. Small ranges wait for the network's latency only, and overlap.
        max_large_requests: At once, of those longer than 1 MiB: they share the bandwidth.
        retry: When to try again.
    """

    max_requests: int = 256
    max_large_requests: int = 32
    retry: RetryLimits = field(default_factory=RetryLimits)


class Session:
    """The client and threads of a store, made when first used. Safe in threads.

    A forked child finds nothing of its parent's usable and makes its own. Threads end with the
    session, or when it is closed; what is used after closing is made anew.
    """

    def __init__(self, connection: Connection, limits: RemoteLimits) -> None:
        self._connection, self._limits = connection, limits
        self.after_fork()
        watch_forks(self)

    def after_fork(self) -> None:
        """Forget what a parent process had."""
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._threads: Threads | None = None
        self._closed = threading.Event()
        self._large = threading.BoundedSemaphore(self._limits.max_large_requests)
        self._not_before = 0.0

    def close(self) -> None:
        """End pauses, join the threads, and let go of the client."""
        with self._lock:
            client, threads, closed = self._client, self._threads, self._closed
            self._client = self._threads = None
            self._closed = threading.Event()
        closed.set()
        if threads is not None:
            threads.close()
        if client is not None:
            client.close()

    def client(self) -> Client:
        """Return the client; the first of many threads makes it."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self._connection.connect()
        return client

    def call_all(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return `function` of each item, all at once; the first error stops what has not begun.

        One item costs no thread. After an error nobody waits for what is under way: it ends within
        the limits of its request.

        Raises:
            StorageError: Another thread closed the session meanwhile.
        """
        if len(items) < 2:
            return [function(item) for item in items]
        threads = self._pool()
        futures: list[Future[Any]] = []
        try:
            futures.extend(threads.start(function, item) for item in items)
            return [future.result() for future in futures]
        except (CancelledError, RuntimeError) as error:  # closed before all had begun, or had been handed in
            if self._threads is threads:
                raise
            raise StorageError(
                f"the dataset is closed: {self._connection.location!r} was let go of while it was read; open it again"
            ) from error
        finally:
            for future in futures:
                future.cancel()

    def _pool(self) -> Threads:
        with self._lock:
            if self._threads is None:
                self._threads = Threads(self._limits.max_requests, purpose="requests")
            return self._threads

    def room(self, length: int | None) -> AbstractContextManager[Any]:
        """Return a context in which a request of this length may be made; None: of unknown length."""
        return self._large if length is None or length > _LARGE_BYTES else nullcontext()

    def back_off(self, seconds: float) -> None:
        """Hold back every request of this process: the server has asked one of them to wait."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait_for_backoff(self) -> None:
        """Wait until requests may be made again; not all threads go on at the same moment."""
        wait = self._not_before - time.monotonic()
        if wait > 0:
            self.pause(wait * (1 + random() / 4))  # noqa: S311 - no secret

    def pause(self, seconds: float) -> bool:
        """Wait; return whether there is still somebody who wants the answer.

        Nobody does once the store is closed or the interpreter exits, which waits for this thread.
        """
        closed, threads, end = self._closed, self._threads, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if closed.wait(min(left, _LOOK_SECONDS)) or _is_exiting(threads):
                return False
        return True


def _is_exiting(threads: Threads | None) -> bool:
    """Return whether the interpreter waits for these threads to end: then, and only then, they take no more work."""
    try:
        if threads is not None:
            threads.start(int)
    except RuntimeError:
        return True
    return False

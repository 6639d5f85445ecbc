"""The resources of a remote store in one process: its client, its threads, and the backoff that its requests share."""

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
_POLL_SECONDS = 0.25  # a waiting thread checks so often whether the store was closed or the interpreter exits


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """How much of the network a store may use.

    Attributes:
        max_requests: Concurrent requests. Small ranges mostly wait for the network's latency, and overlap.
        max_large_requests: Concurrent requests for more than 1 MiB: they share the bandwidth.
        retry: When to repeat a failed request.
    """

    max_requests: int = 256
    max_large_requests: int = 32
    retry: RetryLimits = field(default_factory=RetryLimits)


class Session:
    """The client and threads of a store, created when first used. Safe in threads.

    A forked child creates its own. Threads end when the session is closed or dropped; a closed session that is
    used again creates new ones.
    """

    def __init__(self, connection: Connection, limits: RemoteLimits) -> None:
        self._connection, self._limits = connection, limits
        self.after_fork()
        watch_forks(self)

    def after_fork(self) -> None:
        """Forget the client, threads and locks of the parent process."""
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._threads: Threads | None = None
        self._closed = threading.Event()
        self._large = threading.BoundedSemaphore(self._limits.max_large_requests)
        self._not_before = 0.0

    def close(self) -> None:
        """End all waiting, join the threads, and release the client."""
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
        """Return the client; the first thread that needs it creates it."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = self._connection.connect()
        return client

    def call_all(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return function(item) for each item, called concurrently. The first error cancels pending calls.

        One item needs no thread. After an error, running calls are not awaited: each ends within the limits of
        its request.

        Raises:
            StorageError: Another thread closed the session.
        """
        if len(items) < 2:
            return [function(item) for item in items]
        threads = self._pool()
        futures: list[Future[Any]] = []
        try:
            futures.extend(threads.start(function, item) for item in items)
            return [future.result() for future in futures]
        except (CancelledError, RuntimeError) as error:  # closed before all calls had started or were submitted
            if self._threads is threads:
                raise
            raise StorageError(
                f"the dataset is closed: {self._connection.location!r} was closed while it was read; open it again"
            ) from error
        finally:
            for future in futures:
                future.cancel()

    def _pool(self) -> Threads:
        with self._lock:
            if self._threads is None:
                self._threads = Threads(self._limits.max_requests, purpose="requests")
            return self._threads

    def request_limit(self, length: int | None) -> AbstractContextManager[Any]:
        """Return a context to make a request in, which bounds large ones; None stands for an unknown length."""
        return self._large if length is None or length > _LARGE_BYTES else nullcontext()

    def back_off(self, seconds: float) -> None:
        """Delay all requests of this session: the server asked for it."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait_for_backoff(self) -> None:
        """Wait until requests may be made again, plus a random time so that threads do not resume together."""
        seconds = self._not_before - time.monotonic()
        if seconds > 0:
            self.wait(seconds * (1 + random() / 4))  # noqa: S311 - not a secret

    def wait(self, seconds: float) -> bool:
        """Wait; return False, perhaps early, if the session was closed or the interpreter exits."""
        closed, threads, end = self._closed, self._threads, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if closed.wait(min(left, _POLL_SECONDS)) or _is_exiting(threads):
                return False
        return True


def _is_exiting(threads: Threads | None) -> bool:
    """Return whether the interpreter is exiting: it no longer lets these threads accept work."""
    try:
        if threads is not None:
            threads.start(int)
    except RuntimeError:
        return True
    return False

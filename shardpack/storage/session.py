"""The requests of a remote store in one process: client, threads, shared backoff, and the loop that repeats them.

`retry.py` decides whether a failed request is repeated, and when; the loop here waits, repeats it, or turns the
failure into one of our errors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from random import random
from typing import Any, TypeVar

from shardpack.errors import OutputExistsError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.runtime.process import watch_forks
from shardpack.runtime.threads import Threads
from shardpack.storage.clients.client import Client, Connection, RequestError
from shardpack.storage.retry import PROGRESS_BYTES, Retries, RetryLimits
from shardpack.storage.stats import ReadStats

Answer = TypeVar("Answer")

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
    """The client and threads of a store, created when first used, and the requests made with them. Safe in threads.

    A forked child creates its own. Threads end when the session is closed or dropped; a closed session that is
    used again creates new ones.
    """

    def __init__(self, connection: Connection, limits: RemoteLimits, stats: ReadStats) -> None:
        self.connection, self.limits, self.stats = connection, limits, stats
        self.after_fork()
        watch_forks(self)

    def after_fork(self) -> None:
        """Forget the client, threads and locks of the parent process."""
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._threads: Threads | None = None
        self._closed = threading.Event()
        self._large = threading.BoundedSemaphore(self.limits.max_large_requests)
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
                    client = self._client = self.connection.connect()
        return client

    # One request

    def call(self, path: str, action: str, request: Callable[[Client], Answer]) -> Answer:
        """Return the result of `request(client)`.

        Args:
            path: The object, for errors.
            action: What is done to it, for errors: "cannot <action> <path>".
            request: May be called several times; raises RequestError.

        Raises:
            ShardNotFoundError: The object does not exist.
            OutputExistsError: The object exists already.
            StaleIndexError: The object was replaced.
            RequestError: The object ends before the range begins; its kind is "beyond".
            StorageError: The store refused, or did not answer within the limits.
        """
        attempts = _Attempts(self, path, action, self._closed)
        while True:
            self._wait_for_backoff()
            try:
                return request(self.client())
            except RequestError as error:
                attempts.wait_or_raise(error, progress=0)

    def receive(self, path: str, action: str, request: Callable[[Client, int], Iterator[int]]) -> None:
        """Run `request(client, bytes received so far)`, which yields the number of bytes each time more arrive.

        Each attempt continues after the last byte received. Arguments and errors as for `call`.
        """
        attempts, received = _Attempts(self, path, action, self._closed), 0
        while True:
            before = received
            self._wait_for_backoff()
            try:
                for count in request(self.client(), received):
                    received += count
            except RequestError as error:
                attempts.wait_or_raise(error, progress=received - before)
            else:
                return

    # Many calls

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
                f"the dataset is closed: {self.connection.location!r} was closed while it was read; open it again"
            ) from error
        finally:
            for future in futures:
                future.cancel()

    def _pool(self) -> Threads:
        with self._lock:
            if self._threads is None:
                self._threads = Threads(self.limits.max_requests, purpose="requests")
            return self._threads

    def request_limit(self, length: int | None) -> AbstractContextManager[Any]:
        """Return a context to make a request in, which bounds large ones; None stands for an unknown length."""
        return self._large if length is None or length > _LARGE_BYTES else nullcontext()

    # Waiting

    def back_off(self, seconds: float) -> None:
        """Delay all requests of this session: the server asked for it."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _wait_for_backoff(self) -> None:
        """Wait until requests may be made again, plus a random time so that threads do not resume together."""
        seconds = self._not_before - time.monotonic()
        if seconds > 0:
            self.wait(seconds * (1 + random() / 4), self._closed)  # noqa: S311 - not a secret

    def wait(self, seconds: float, closed: threading.Event) -> bool:
        """Wait; return False, perhaps early, if the session was closed or the interpreter exits.

        Args:
            seconds: How long.
            closed: What `close` sets; it leaves another one to those who use the session again.
        """
        threads, end = self._threads, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if closed.wait(min(left, _POLL_SECONDS)) or _is_exiting(threads):
                return False
        return True


class _Attempts:
    """The attempts at one request. They end with the session that they began with, even one closed amid a request."""

    def __init__(self, session: Session, path: str, action: str, closed: threading.Event) -> None:
        self._session, self._path, self._action, self._closed = session, path, action, closed
        self._retries, self._began = Retries(session.limits.retry), time.monotonic()

    def wait_or_raise(self, error: RequestError, *, progress: int) -> None:
        """Wait until the next attempt, or raise what the failed one means."""
        session = self._session
        if progress >= PROGRESS_BYTES:  # the time limit is for waiting, not for long transfers
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        delay = self._retries.next_delay(error, progress=progress, elapsed_seconds=elapsed)
        if delay is not None and error.kind == "busy":
            session.back_off(delay)
        if delay is None or not session.wait(delay, self._closed):
            if error.kind == "beyond":
                raise error from None
            raise self._failure(error, elapsed) from None  # the original text may contain secrets
        self._session.stats.add_retry()

    def _failure(self, error: RequestError, elapsed_seconds: float) -> ShardpackError:
        """Return our error for a failed request."""
        connection, path, action = self._session.connection, self._path, self._action
        url = f"{connection.location.rstrip('/')}/{path}"
        reason = connection.redact(" ".join(str(error).split()))
        if error.kind == "missing":
            return ShardNotFoundError(f"no object {url!r}; check the name, or restore it", path=path)
        if error.kind == "exists":
            return OutputExistsError(f"object exists: {url!r}; choose another name", path=path)
        if error.kind == "changed":
            return StaleIndexError(
                f"the object {url!r} was replaced after this dataset was opened ({reason}); open the dataset again",
                path=path,
            )
        if error.kind == "denied":
            return StorageError(f"cannot {action} {url!r}: access denied ({reason}); {connection.advice}", path=path)
        failures = self._retries.failures
        tried = f" after {failures} attempts in {elapsed_seconds:.1f} s" if failures > 1 else ""
        advice = "" if error.kind == "refused" else "; try again later"
        return StorageError(f"cannot {action} {url!r}{tried}: {reason}{advice}", path=path)


def _is_exiting(threads: Threads | None) -> bool:
    """Return whether the interpreter is exiting: it no longer lets these threads accept work."""
    try:
        if threads is not None:
            threads.start(int)
    except RuntimeError:
        return True
    return False

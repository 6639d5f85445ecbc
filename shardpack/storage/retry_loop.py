"""The loop that repeats a request until it succeeds or `retry.py` gives up, and turns its failure into our errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from shardpack.errors import OutputExistsError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.storage.clients.client import Client, Connection, RequestError
from shardpack.storage.retry import PROGRESS_BYTES, Retries, RetryLimits
from shardpack.storage.session import Session
from shardpack.storage.stats import ReadStats

Answer = TypeVar("Answer")


class RetryLoop:
    """Makes requests with a session's client, and repeats those that may succeed the next time. Safe in threads."""

    def __init__(self, connection: Connection, session: Session, limits: RetryLimits, stats: ReadStats) -> None:
        self.connection, self.session, self.limits, self.stats = connection, session, limits, stats

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
        attempts = _Attempts(self, path, action)
        while True:
            self.session.wait_for_backoff()
            try:
                return request(self.session.client())
            except RequestError as error:
                attempts.wait_or_raise(error, progress=0)

    def receive(self, path: str, action: str, request: Callable[[Client, int], Iterator[int]]) -> None:
        """Run `request(client, bytes received so far)`, which yields the number of bytes each time more arrive.

        Each attempt continues after the last byte received. Arguments and errors as for `call`.
        """
        attempts, received = _Attempts(self, path, action), 0
        while True:
            before = received
            self.session.wait_for_backoff()
            try:
                for count in request(self.session.client(), received):
                    received += count
            except RequestError as error:
                attempts.wait_or_raise(error, progress=received - before)
            else:
                return


class _Attempts:
    """The attempts at one request."""

    def __init__(self, loop: RetryLoop, path: str, action: str) -> None:
        self._loop, self._path, self._action = loop, path, action
        self._retries, self._began = Retries(loop.limits), time.monotonic()

    def wait_or_raise(self, error: RequestError, *, progress: int) -> None:
        """Wait until the next attempt, or raise what the failed one means."""
        session = self._loop.session
        if progress >= PROGRESS_BYTES:  # the time limit is for waiting, not for long transfers
            self._began = time.monotonic()
        elapsed = time.monotonic() - self._began
        delay = self._retries.next_delay(error, progress=progress, elapsed_seconds=elapsed)
        if delay is not None and error.kind == "busy":
            session.back_off(delay)
        if delay is None or not session.wait(delay):
            if error.kind == "beyond":
                raise error from None
            raise self._failure(error, elapsed) from None  # the original text may contain secrets
        self._loop.stats.add_retry()

    def _failure(self, error: RequestError, elapsed_seconds: float) -> ShardpackError:
        """Return our error for a failed request."""
        connection, path, action = self._loop.connection, self._path, self._action
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

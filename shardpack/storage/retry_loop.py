"""Try a request again as the limits allow; say in our errors what went wrong when they do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

from shardpack.errors import OutputExistsError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.storage.clients.client import Client, Connection, RequestError
from shardpack.storage.retry import PROGRESS_BYTES, Retries, RetryLimits
from shardpack.storage.session import Session
from shardpack.storage.stats import ReadStats

Answer = TypeVar("Answer")


class RetryLoop:
    """Makes requests with a session's client, again and again where that may help."""

    def __init__(self, connection: Connection, session: Session, limits: RetryLimits, stats: ReadStats) -> None:
        self._connection, self._session, self._limits, self._stats = connection, session, limits, stats

    def make(self, path: str, action: str, request: Callable[[Client], Answer]) -> Answer:
        """Return what `request(client)` returns.

        Args:
            path: The object, for errors.
            action: What is done to it, for errors: "cannot <action> <path>".
            request: May be called several times; raises RequestError.

        Raises:
            ShardNotFoundError, OutputExistsError, StaleIndexError: There is no such object; there is
                one; it was replaced.
            RequestError: It ends before the range begins: kind "beyond", and no other.
            StorageError: The store refused, or did not answer within the limits.
        """
        answers: list[Answer] = []

        def single(client: Client, _: int) -> Iterator[int]:
            answers[:] = [request(client)]
            yield from ()

        self.receive(path, action, single)
        return answers[0]

    def receive(self, path: str, action: str, request: Callable[[Client, int], Iterator[int]]) -> None:
        """Run `request(client, bytes received)`, which yields how many more bytes it has received.

        The next attempt goes on after the last of them. Raises as `make`.
        """
        retries, began, got = Retries(self._limits), time.monotonic(), 0
        while True:
            before = got
            try:
                self._session.wait_for_backoff()
                for count in request(self._session.client(), got):
                    got += count
            except RequestError as error:
                if got - before >= PROGRESS_BYTES:  # a long transfer is no long wait
                    began = time.monotonic()
                elapsed = time.monotonic() - began
                pause = retries.pause(error, progress=got - before, elapsed_seconds=elapsed)
                if pause is not None and error.kind == "busy":
                    self._session.back_off(pause)
                if pause is None or not self._session.pause(pause):
                    tried = f" after {retries.failures} attempts in {elapsed:.1f} s" if retries.failures > 1 else ""
                    self._raise(path, action, error, tried)
                self._stats.add_retry()
            else:
                return

    def _raise(self, path: str, action: str, error: RequestError, tried: str) -> NoReturn:
        where = f"{self._connection.location.rstrip('/')}/{path}"
        reason = self._connection.redact(" ".join(str(error).split()))
        failure: ShardpackError
        if error.kind == "beyond":
            raise error from None
        if error.kind == "missing":
            failure = ShardNotFoundError(f"no object {where!r}; check the name, or restore it", path=path)
        elif error.kind == "exists":
            failure = OutputExistsError(f"object exists: {where!r}; choose another name", path=path)
        elif error.kind == "changed":
            failure = StaleIndexError(
                f"the object {where!r} was replaced after this dataset was opened ({reason}); open the dataset again",
                path=path,
            )
        elif error.kind == "denied":
            failure = StorageError(
                f"cannot {action} {where!r}: access denied ({reason}); {self._connection.advice}",
                path=path,
            )
        else:
            then = "" if error.kind == "refused" else "; try again later"
            failure = StorageError(f"cannot {action} {where!r}{tried}: {reason}{then}", path=path)
        raise failure from None  # what lies below may tell secrets

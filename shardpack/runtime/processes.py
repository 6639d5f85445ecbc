"""Run functions in worker processes: plain child interpreters, connected by pipes.

`multiprocessing` is not used: its children import the caller's main module, so that packing from a script
without a `__main__` guard, or from a notebook, would fail, and a pool that loses a worker hangs.
Here a worker that dies is an error, and a worker whose parent dies reads end-of-file and exits.

    caller --tasks--> one thread per worker --(function, task)--> child: process_child.main()
           <-results-                       <--(ok, result)------
"""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, islice, takewhile
from typing import Any

from shardpack.errors import ShardpackError
from shardpack.runtime.child import Child
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.engine import IN_PROCESS, Backpressure, Engine, Result, Results, Task, TaskAdvance

BYTES_PER_WORKER = 64 << 20  # with less to read, starting a worker takes longer than reading


def default_jobs(num_bytes: int) -> int:
    """Return how many workers are worth starting to read so many bytes: at most one per core."""
    return min(usable_cores(), 1 + num_bytes // BYTES_PER_WORKER)


class WorkerPool:
    """An engine of `jobs` child interpreters, all started in the constructor. A context manager.

    Leaving it ends the children and joins the threads. One `map` at a time, all from one thread.
    """

    def __init__(self, jobs: int, *, threads_per_job: int = 1):
        """Start the children; each computes in `threads_per_job` threads, whatever this process's environment says."""
        self.jobs = jobs
        self._tasks: queue.SimpleQueue[tuple[int, Any, Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, bool | None, Any]] = queue.SimpleQueue()
        self._children: list[Child] = []
        self._threads: list[threading.Thread] = []
        self._backpressure: Backpressure | None = None  # of the current `map`
        try:
            for _ in range(jobs):
                self._children.append(Child(threads=threads_per_job))
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
        """Kill the children and join the threads. Safe to call twice."""
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
            child.close()
        self._children, self._threads = [], []

    def map(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *,
        backpressure: Backpressure | None = None,
        advance: TaskAdvance | None = None,
        in_order: bool = False,
    ) -> Results[Result]:
        """Return an iterator of (task number, result), in the order in which tasks finish; see `Engine.map`.

        Work starts before the first result is requested; two tasks per worker are drawn ahead. The first error,
        or closing the iterator early, ends the workers too.
        """
        if not self._children:
            raise ShardpackError("the workers have ended; start new ones")
        numbered = enumerate(tasks)
        ahead = list(islice(numbered, 2 * len(self._children)))
        takes_advance = advance is not None
        self._backpressure = backpressure
        for number, task in ahead:
            self._tasks.put((number, (function, task, takes_advance), backpressure))
        return self._collect(function, numbered, len(ahead), backpressure, advance, in_order=in_order)

    def _collect(
        self,
        function: Callable[[Any], Any],
        tasks: Iterator[tuple[int, Any]],
        pending: int,
        backpressure: Backpressure | None,
        advance: TaskAdvance | None,
        *,
        in_order: bool,
    ) -> Results[Any]:
        held: dict[int, Any] = {}  # results that wait for those before them
        first = 0  # number of the result that is due, if they come in order
        try:
            while pending:
                number, ok, result = self._results.get()
                if ok is None:  # progress of a running task
                    assert advance is not None
                    advance(number, result)
                    continue
                pending -= 1
                if not ok:
                    raise result
                held[number] = result
                due = list(takewhile(held.__contains__, count(first))) if in_order else [number]
                first += len(due)
                for done in due:
                    for following, task in islice(tasks, 1):
                        self._tasks.put((following, (function, task, advance is not None), backpressure))
                        pending += 1
                    yield done, held.pop(done)
        finally:
            if pending:  # an error, or the caller left early: drop the remaining results
                self.close()
            self._backpressure = None


@contextmanager
def start_workers(jobs: int, *, threads_per_job: int | None = None) -> Iterator[Engine]:
    """Yield an engine with so many jobs: worker processes, or this process for one job.

    Args:
        jobs: How many tasks run at once.
        threads_per_job: BLAS, OpenMP and OpenCV threads of each worker process; None: 1. If given, one job has a
            process of its own, too, since this process may have loaded these libraries already.
    """
    # An embedded Python, or one frozen into a program, has no interpreter that could be started.
    if (jobs == 1 and threads_per_job is None) or not sys.executable or getattr(sys, "frozen", False):
        yield IN_PROCESS
        return
    with WorkerPool(jobs, threads_per_job=threads_per_job or 1) as pool:
        yield pool


def _serve(child: Child, tasks: queue.SimpleQueue[Any], results: queue.SimpleQueue[Any]) -> None:
    while (item := tasks.get()) is not None:
        number, (function, task, takes_advance), backpressure = item
        if backpressure is not None and not backpressure.acquire():
            continue
        advance = partial(_put_progress, results, number) if takes_advance else None
        ok, result = child.ask(function, task, advance=advance)
        results.put((number, ok, result))


def _put_progress(results: queue.SimpleQueue[Any], number: int, amount: int) -> None:
    results.put((number, None, amount))

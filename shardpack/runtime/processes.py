"""Run functions in worker processes: plain child interpreters, connected by pipes.

`multiprocessing` is not used: its children import the caller's main module, so that packing from a script
without a `__main__` guard, or from a notebook, would fail, and a pool that loses a worker hangs.
Here a worker that dies is an error, and a worker whose parent dies reads end-of-file and exits.

    caller --tasks--> one thread per worker --(function, task)--> child: process_child.main()
           <-results-                       <--(ok, result)------
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

BYTES_PER_WORKER = 64 << 20  # with less to read, starting a worker takes longer than reading

_SECONDS_TO_DIE = 5
# What libraries read when they are loaded, and so before a function could tell them.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)


def default_jobs(num_bytes: int) -> int:
    """Return how many workers are worth starting to read so many bytes: at most one per core."""
    return min(os.cpu_count() or 1, 1 + num_bytes // BYTES_PER_WORKER)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment in which BLAS, OpenMP and OpenCV compute in so many threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


class WorkerPool:
    """An engine of `jobs` child interpreters, all started in the constructor. A context manager.

    Leaving it ends the children and joins the threads. One `map` at a time, all from one thread.
    """

    def __init__(self, jobs: int, *, threads_per_job: int = 1):
        """Start the children; each computes in `threads_per_job` threads, whatever this process's environment says."""
        self.jobs = jobs
        self._tasks: queue.SimpleQueue[tuple[int, Any, Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[int, bool | None, Any]] = queue.SimpleQueue()
        self._children: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._backpressure: Backpressure | None = None  # of the current `map`
        try:
            with _interrupts_held_back():
                for _ in range(jobs):
                    self._children.append(_start_child(threads_per_job))
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
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with suppress(OSError):  # a dead child did not read everything
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
                number, ok, result = self._results.get()
                if ok is None:  # progress of a running task
                    assert advance is not None
                    advance(number, result)
                    continue
                pending -= 1
                if not ok:
                    raise result
                for following, task in islice(tasks, 1):
                    self._tasks.put((following, (function, task, advance is not None), backpressure))
                    pending += 1
                yield number, result
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


def _start_child(threads: int) -> subprocess.Popen[bytes]:
    # The child must import from the same path, entries added by hand included, and from nowhere else:
    # "-m" would put the working directory first.
    path = [entry for entry in sys.path if isinstance(entry, str)]
    boot = f"import sys; sys.path[:] = {path!a}; from shardpack.runtime.process_child import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **thread_variables(threads)},
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows: no Ctrl-C
    )


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start children with Ctrl-C blocked from their first moment: only the caller handles it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerTraceback(Exception):  # noqa: N818 - never raised: the cause shown above an error that a worker sent
    """The traceback of an error in a worker."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


def _serve(child: subprocess.Popen[bytes], tasks: queue.SimpleQueue[Any], results: queue.SimpleQueue[Any]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    while (item := tasks.get()) is not None:
        number, request, backpressure = item
        if backpressure is not None and not backpressure.acquire():
            continue
        ok, result = _ask(child, child.stdin, child.stdout, request, partial(_put_progress, results, number))
        results.put((number, ok, result))


def _put_progress(results: queue.SimpleQueue[Any], number: int, amount: int) -> None:
    results.put((number, None, amount))


def _ask(
    child: subprocess.Popen[bytes],
    requests: IO[bytes],
    answers: IO[bytes],
    request: tuple[Callable[..., Any], object, bool],
    advance: Advance,
) -> tuple[bool, Any]:
    """Send a request and return (True, result) or (False, error); calls `advance` with the progress of the task."""
    try:
        frame = pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001 - raised in the caller's thread
        return False, error
    try:
        write_frame(requests, frame)
        while (answer := pickle.loads(read_frame(answers)))[0] is None:
            advance(answer[1])
        ok, result, trace = answer
    except (EOFError, OSError):
        return False, _death(child)
    except Exception as error:  # noqa: BLE001 - an answer that this process cannot unpickle
        return False, error
    if not ok:
        result.__cause__ = WorkerTraceback(trace)
    return ok, result


def _death(child: subprocess.Popen[bytes]) -> ShardpackError:
    try:
        code = child.wait(_SECONDS_TO_DIE)
    except subprocess.TimeoutExpired:  # it closed its pipe but still runs
        child.kill()
        code = child.wait()
    how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"
    return ShardpackError(f"a worker process {how}; run the same command again, perhaps with fewer --jobs")

"""Run functions in worker processes: plain child interpreters that speak over pipes.

Not `multiprocessing`: its children import the caller's main module, so that packing from a script
without a `__main__` guard, or from a notebook, would fail; and a pool that loses a worker hangs.
Here a worker that dies is an error, and one whose parent dies reads end-of-file and ends.

    parent: one thread a worker  --(function, task)-->  child: python -m shardpack.worker_main
                                 <--(ok, result)------
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from shardpack.errors import ShardpackError

Task = TypeVar("Task")
Result = TypeVar("Result")


class WorkerPool:
    """`jobs` child interpreters, started at once so that they warm up early. A context manager.

    Leaving it, for whatever reason, ends the children and joins the threads.
    """

    def __init__(self, jobs: int):
        # The child must find what we find, also where we were put on the path by hand.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-m", "shardpack.worker_main"]
        self._children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            for _ in range(jobs)
        ]

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def map(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[tuple[int, Result]]:
        """Yield (task number, result) as they finish. The first error ends it.

        Args:
            function: A module-level function; runs in the child.
            tasks: Drawn one by one as workers become free, so they need not all exist at once.
        """
        feed = _Feed(tasks)
        results: queue.SimpleQueue[tuple[int, bool, Any]] = queue.SimpleQueue()
        threads = [
            threading.Thread(target=_serve, args=(child, function, feed, results), daemon=True)
            for child in self._children
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                number, fine, result = results.get()
                if number < 0 and fine:
                    running -= 1
                elif fine:
                    yield number, result
                else:
                    raise result
        finally:
            feed.stop()
            if running:  # an error, or the caller left: threads wait on children, which must go first
                self.__exit__()
            for thread in threads:
                thread.join()


@contextmanager
def start_workers(jobs: int) -> Iterator[WorkerPool | None]:
    """Yield a pool, or None for one job: the caller then does the work itself."""
    if jobs == 1:
        yield None
        return
    with WorkerPool(jobs) as pool:
        yield pool


class _Feed:
    """Hand out numbered tasks to many threads."""

    def __init__(self, tasks: Iterable[Any]):
        self._tasks = enumerate(tasks)
        self._lock = threading.Lock()
        self._stopped = False

    def next(self) -> tuple[int, Any] | None:
        with self._lock:
            return None if self._stopped else next(self._tasks, None)

    def stop(self) -> None:
        self._stopped = True


def _serve(
    child: subprocess.Popen[bytes], function: Callable[[Any], Any], feed: _Feed, results: queue.SimpleQueue[Any]
) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        while (item := feed.next()) is not None:
            number, task = item
            try:
                pickle.dump((function, task), child.stdin, pickle.HIGHEST_PROTOCOL)
                child.stdin.flush()
                fine, result = pickle.load(child.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                fine, result = False, _death(child)
            results.put((number, fine, result))
            if not fine:
                return
        results.put((-1, True, None))
    except BaseException as error:  # noqa: BLE001 - whatever the task source raised belongs to the caller
        results.put((-1, False, error))


def _death(child: subprocess.Popen[bytes]) -> ShardpackError:
    code = child.wait()
    how = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"
    return ShardpackError(f"a worker process {how}; run the same command again, perhaps with fewer --jobs")

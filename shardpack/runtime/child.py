"""A child interpreter that runs functions, connected by two pipes; `process_child.py` is its side.

Child.ask --(function, task)--> child: process_child.main()
          <--(ok, result)------
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from shardpack.errors import ShardpackError
from shardpack.runtime.heritage import Take, heritage
from shardpack.runtime.process_child import read_frame, write_frame
from shardpack.runtime.progress import Advance

_SECONDS_TO_DIE = 5
_TOLD = "SHARDPACK_THREADS_PER_JOB"  # read here, in a process that starts a child of its own
# What libraries read when they are loaded, and so before a function could tell them.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
    _TOLD,
)


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment in which BLAS, OpenMP and OpenCV compute in so many threads."""
    return dict.fromkeys(_THREAD_VARIABLES, str(threads))


class Child:
    """A child interpreter, started by the constructor. One thread at a time may ask; any may kill.

    Attributes:
        how_it_ended: How the process ended while it was asked; empty if it did not.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        """Start it; BLAS, OpenMP and OpenCV compute in so many threads there.

        None: in as many as this process was started with, if that is a child, too, or a task of Ray; else in one.
        """
        threads = threads or int(os.environ.get(_TOLD, "1"))
        # The child must import from the same path, entries added by hand included, and from nowhere else:
        # "-m" would put the working directory first.
        path = [entry for entry in sys.path if isinstance(entry, str)]
        boot = f"import sys; sys.path[:] = {path!a}; from shardpack.runtime.process_child import main; main()"
        self.how_it_ended = ""
        self._function: Callable[..., Any] | None = None  # what the child has as its newest one
        self._inherited = list(_frames(heritage()))  # to be sent before the first request
        with _interrupts_held_back():
            self._process = subprocess.Popen(
                [sys.executable, "-c", boot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **thread_variables(threads)},
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # Windows: no Ctrl-C
            )

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def ask(self, function: Callable[..., Any], task: object, *, advance: Advance | None = None) -> tuple[bool, Any]:
        """Run a function there; return (True, result), or (False, error), which may be that the child has ended.

        Args:
            function: Called as function(task), or as function(task, advance) if there is an `advance`. It is sent
                again only after another one, so it may hold much.
            task: Picklable. If it has a text `title`, the message that the child has ended says it.
            advance: Called in this thread with what the function reports.
        """
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        try:
            sent = None if function is self._function else function
            frame = pickle.dumps((sent, task, advance is not None), pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - raised in the caller's thread
            return False, error
        try:
            while self._inherited:
                write_frame(requests, self._inherited.pop())
                read_frame(answers)
            self._function = None  # until an answer shows that the request was understood
            write_frame(requests, frame)
            while (answer := pickle.loads(read_frame(answers)))[0] is None:
                if advance is not None:
                    advance(answer[1])
            ok, result, trace = answer
        except (EOFError, OSError):
            self.how_it_ended = self._wait()
            advice = "run the same command again, perhaps with fewer --jobs"
            title = getattr(task, "title", None)
            at = f" while it read {title}" if isinstance(title, str) else ""
            return False, ShardpackError(f"a worker process {self.how_it_ended}{at}; {advice}")
        except Exception as error:  # noqa: BLE001 - an answer that this process cannot unpickle
            return False, error
        if ok:
            self._function = function
        else:
            result.__cause__ = WorkerTraceback(trace)
        return ok, result

    def _wait(self) -> str:
        try:
            code = self._process.wait(_SECONDS_TO_DIE)
        except subprocess.TimeoutExpired:  # it closed its pipe but still runs
            self._process.kill()
            code = self._process.wait()
        return f"was killed by signal {-code} (out of memory?)" if code < 0 else f"ended with exit code {code}"

    def kill(self) -> None:
        """End it now; a running `ask` then returns."""
        self._process.kill()

    def close(self) -> None:
        """Wait until it has ended, and close the pipes; not while a thread asks. Safe to call twice."""
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # a dead child did not read everything
                    pipe.close()


def _frames(inherited: Iterable[tuple[Take, Any]]) -> Iterator[bytes]:
    """Yield a request for each value that a child inherits, without those that cannot be pickled."""
    for take, value in inherited:
        with suppress(Exception):
            yield pickle.dumps((take, value, False), pickle.HIGHEST_PROTOCOL)


class WorkerTraceback(Exception):  # noqa: N818 - never raised: the cause shown above an error that a worker sent
    """The traceback of an error in a worker."""

    def __str__(self) -> str:
        return f"\n\n{self.args[0]}"


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start a child with Ctrl-C blocked from its first moment: only the caller handles it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

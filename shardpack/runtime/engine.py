"""What runs tasks: an `Engine` maps a function over them, in this process or in others.

    this process       IN_PROCESS, below
    worker processes   WorkerPool, in processes.py; `start_workers` picks one of the two

Callers do not ask which: they hand in a module-level function and picklable tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

Results = Generator[tuple[int, Result], None, None]
Advance = Callable[[int, int], None]  # (task number, how much of it was done since the last call)
Report = Callable[[int], None]  # what a task calls


class Backpressure(Protocol):
    """Holds tasks back until there is room for what they make."""

    def acquire(self) -> bool:
        """Wait until there is room for one more; False after `close`. Called in any thread."""
        ...

    def close(self) -> None:
        """Let nobody wait any more."""
        ...


class Engine(Protocol):
    """Runs tasks, `jobs` at a time. One `map` at a time, all from one thread."""

    @property
    def jobs(self) -> int: ...

    def map(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *,
        backpressure: Backpressure | None = None,
        advance: Advance | None = None,
    ) -> Results[Result]:
        """Return an iterator of (task number, result), as they finish. The first error ends it.

        Closing the iterator ends what runs and begins nothing more.

        Args:
            function: A module-level function; it may run in another process. Called as function(task), or with
                `advance` as function(task, report), which may call report(amount) while it works.
            tasks: Drawn in the caller's thread, a few ahead of the results, so they need not all exist at once.
            backpressure: Acquired before each task begins.
            advance: Called in the caller's thread with what tasks report, before their results.
        """
        ...


class InProcess:
    """The engine that is this process: one task at a time, each when its result is asked for."""

    jobs = 1

    def map(
        self,
        function: Callable[..., Any],
        tasks: Iterable[Any],
        *,
        backpressure: Backpressure | None = None,
        advance: Advance | None = None,
    ) -> Results[Any]:
        """Yield (task number, result) in order; see `Engine.map`."""
        for number, task in enumerate(tasks):
            if backpressure is not None and not backpressure.acquire():
                return
            yield number, function(task) if advance is None else function(task, partial(advance, number))


IN_PROCESS = InProcess()

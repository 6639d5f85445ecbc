"""What runs tasks: an `Engine` maps a function over them, in this process or in others.

    this process       HERE, below
    worker processes   WorkerPool, in processes.py; `start_workers` picks one of the two

Callers do not ask which: they hand in a module-level function and picklable tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

Results = Generator[tuple[int, Result], None, None]


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
        function: Callable[[Task], Result],
        tasks: Iterable[Task],
        *,
        backpressure: Backpressure | None = None,
    ) -> Results[Result]:
        """Return an iterator of (task number, result), as they finish. The first error ends it.

        Closing the iterator ends what runs and begins nothing more.

        Args:
            function: A module-level function; it may run in another process.
            tasks: Drawn in the caller's thread, a few ahead of the results, so they need not all exist at once.
            backpressure: Acquired before each task begins.
        """
        ...


class InProcess:
    """The engine that is this process: one task at a time, each when its result is asked for."""

    jobs = 1

    def map(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], *, backpressure: Backpressure | None = None
    ) -> Results[Any]:
        """Yield (task number, result) in order; see `Engine.map`."""
        for number, task in enumerate(tasks):
            if backpressure is not None and not backpressure.acquire():
                return
            yield number, function(task)


HERE = InProcess()

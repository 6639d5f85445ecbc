"""What runs tasks: an `Engine` maps a function over them, in this process or in others.

    this process       IN_PROCESS, below
    worker processes   WorkerPool, in processes.py; `start_workers` picks one of the two
    a Ray cluster      RayEngine, in ray_engine.py; `start_engine` picks among all

Callers need not know which one they have: they pass a module-level function and picklable tasks. What all tasks need
belongs into the function, as in `partial(pack_chunk, recipe)`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Literal, Protocol, TypeVar, cast

Task = TypeVar("Task")
Result = TypeVar("Result")

Results = Generator[tuple[int, Result], None, None]
TaskAdvance = Callable[[int, int], None]  # called in the caller's thread: (task number, amount)


class Backpressure(Protocol):
    """Delays tasks until there is room for their results."""

    def acquire(self) -> bool:
        """Wait until there is room for one more result; False after `close`. Called in any thread."""
        ...

    def close(self) -> None:
        """End all waiting, now and later."""
        ...


class Engine(Protocol):
    """Runs up to `jobs` tasks at once. One `map` at a time, all from one thread."""

    @property
    def jobs(self) -> int: ...

    def map(
        self,
        function: Callable[..., Result],
        tasks: Iterable[Task],
        *,
        backpressure: Backpressure | None = None,
        advance: TaskAdvance | None = None,
        in_order: bool = False,
    ) -> Results[Result]:
        """Return an iterator of (task number, result), in the order in which tasks finish.

        The first error ends it. Closing the iterator ends the running tasks and starts no others.

        Args:
            function: A module-level function, as it may run in another process, or a `partial` of one: it is sent to
                each worker once, with all that it holds. Called as function(task), or, if there is an `advance`, as
                function(task, advance): it may call advance(amount) while it works.
            tasks: Drawn in the caller's thread, a few ahead of the results, so they need not all exist at once.
            backpressure: Acquired before each task starts.
            advance: Receives what tasks report, in the caller's thread and before their results.
            in_order: Yield results in the order of the tasks; no more tasks than otherwise are drawn ahead.
        """
        ...


class RemoteEngine(Engine, Protocol):
    """An engine whose tasks run on other machines: these deliver what they make, as the caller may not see their files.

    It takes no `backpressure`, and drops what tasks report to `advance`.
    """

    remote: Literal[True]

    def on_every_node(self, function: Callable[[Task], Result], task: Task) -> list[tuple[str, Result]]:
        """Run a task once on each machine; return (name of the machine, result) for each."""
        ...


def as_remote(engine: Engine) -> RemoteEngine | None:
    """Return the engine if it is a remote one, otherwise None."""
    return cast("RemoteEngine", engine) if getattr(engine, "remote", False) else None


class InProcess:
    """The engine that is this process: runs one task at a time, when its result is requested."""

    jobs = 1

    def map(
        self,
        function: Callable[..., Any],
        tasks: Iterable[Any],
        *,
        backpressure: Backpressure | None = None,
        advance: TaskAdvance | None = None,
        in_order: bool = False,  # noqa: ARG002 - it is the only order
    ) -> Results[Any]:
        """Yield (task number, result) in the order of the tasks; see `Engine.map`."""
        for number, task in enumerate(tasks):
            if backpressure is not None and not backpressure.acquire():
                return
            yield number, function(task) if advance is None else function(task, partial(advance, number))


IN_PROCESS = InProcess()

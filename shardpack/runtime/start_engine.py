"""Start the engine that the user asks for: worker processes, a Ray cluster, or one of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from shardpack.errors import OptionError
from shardpack.runtime.engine import Engine
from shardpack.runtime.processes import start_workers

EngineOption = Literal["ray"] | Engine | None


def check_engine(engine: Any) -> None:
    """Raise OptionError unless `engine` is one."""
    if engine not in (None, "ray") and not (callable(getattr(engine, "map", None)) and hasattr(engine, "jobs")):
        raise OptionError(f'engine is {engine!r}; expected "ray", or an object with `jobs` and `map`')


@contextmanager
def start_engine(engine: EngineOption, jobs: int | None, *, threads_per_job: int | None = None) -> Iterator[Engine]:
    """Yield an engine; end it afterwards, unless it is the user's own.

    Args:
        engine: None for worker processes, or for this process if one job is enough.
        jobs: How many tasks run at once; None: one on this machine, as many as there are cores for on a cluster.
        threads_per_job: BLAS, OpenMP and OpenCV threads of a task; None: 1.
    """
    if engine is None:
        with start_workers(jobs or 1, threads_per_job=threads_per_job) as workers:
            yield workers
    elif engine == "ray":
        from shardpack.runtime.ray_engine import RayEngine

        with RayEngine(jobs, threads_per_job=threads_per_job or 1) as cluster:
            yield cluster
    else:
        assert not isinstance(engine, str)
        yield engine

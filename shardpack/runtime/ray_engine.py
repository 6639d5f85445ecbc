"""Run tasks on a Ray cluster.

    caller --function, once--> Ray's object store --> a worker of any node
           --task------------>                    -->
           <-----result-------

Ray starts a task again, elsewhere, when its worker or node is lost. So a task must not mind having run before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from types import TracebackType
from typing import Any, Literal

from shardpack.errors import MissingDependencyError, ShardpackError
from shardpack.runtime.child import thread_variables
from shardpack.runtime.engine import Backpressure, Result, Results, Task, TaskAdvance

RETRIES = 3  # of a task whose worker or node is lost


@cache
def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise MissingDependencyError('engine="ray" needs ray; run pip install "shardpack[ray]"') from error
    return ray


class RayEngine:
    """An engine that is a Ray cluster. A context manager; leaving it disconnects, if it was the one that connected.

    Every node needs shardpack, and sees the source at the path that the caller names.

    Attributes:
        jobs: How many tasks run at once.
    """

    remote: Literal[True] = True

    def __init__(
        self, jobs: int | None = None, *, threads_per_job: int = 1, address: str | None = None, retries: int = RETRIES
    ) -> None:
        """Connect to a cluster, unless this process is connected already.

        Args:
            jobs: How many tasks run at once; None: as many as the cluster has cores for.
            threads_per_job: BLAS, OpenMP and OpenCV threads of a task, and the cores that Ray reserves for it.
            address: Of the cluster. None: what `RAY_ADDRESS` says; otherwise a cluster that runs on this machine;
                otherwise a new one, of this machine alone.
            retries: How often a task is started again after its worker or node was lost.

        Raises:
            MissingDependencyError: Ray is not installed.
            ShardpackError: The cluster does not answer.
        """
        ray = _ray()
        self._threads, self._retries = threads_per_job, retries
        self._connected_here = not ray.is_initialized()
        if self._connected_here:
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise ShardpackError(
                    f"cannot connect to Ray: {error}; set RAY_ADDRESS to the address of the head node"
                ) from error
        cores = int(ray.cluster_resources().get("CPU", 1))
        most = max(1, cores // threads_per_job)
        self.jobs = most if jobs is None else jobs
        # Ray itself holds back the tasks that are beyond the cores.
        self._ahead = 2 * most if self.jobs >= most else self.jobs

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect, if the constructor connected. Safe to call twice."""
        if self._connected_here:
            self._connected_here = False
            _ray().shutdown()

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

        Raises:
            ShardpackError: A worker was lost again and again.
        """
        assert backpressure is None, "tasks of a remote engine deliver what they make"
        stored = _ray().put(function)
        numbered = enumerate((stored, task, advance is not None) for task in tasks)
        return self._collect(self._remote(), numbered, in_order=in_order)

    def on_every_node(self, function: Callable[[Task], Result], task: Task) -> list[tuple[str, Result]]:
        """Run a task once on each node that has cores; return (address of the node, result) for each.

        Nodes that leave the cluster meanwhile are left out.

        Raises:
            ShardpackError: No node is left.
        """
        ray = _ray()
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        asked = [
            (node["NodeManagerAddress"], self._remote(scheduling_strategy=strategy(node["NodeID"], soft=False)))
            for node in nodes
        ]
        results = [(name, remote.remote(function, task, False)) for name, remote in asked]
        found = []
        for name, result in results:
            with suppress(ray.exceptions.TaskUnschedulableError):  # the node is gone
                found.append((name, _result(result)))
        if not found:
            raise ShardpackError("the Ray cluster has no node with a core; start some")
        return found

    def _remote(self, **options: Any) -> Any:
        """Return `_call` as a function of Ray."""
        environment = {"env_vars": thread_variables(self._threads)}
        remote = _ray().remote(_call)
        return remote.options(num_cpus=self._threads, max_retries=self._retries, runtime_env=environment, **options)

    def _collect(self, remote: Any, numbered: Iterator[tuple[int, Any]], *, in_order: bool) -> Results[Any]:
        ray = _ray()
        pending: dict[Any, int] = {}
        try:
            while True:
                for number, request in islice(numbered, self._ahead - len(pending)):
                    pending[remote.remote(*request)] = number
                if not pending:
                    return
                (done,), _ = ray.wait([next(iter(pending))] if in_order else list(pending), num_returns=1)
                number = pending.pop(done)
                yield number, _result(done)
        finally:
            for reference in pending:
                ray.cancel(reference, force=True)


def _call(function: Callable[..., Any], task: Any, takes_advance: bool) -> Any:
    """Run a task in a worker. What it reports is dropped: the caller counts results."""
    return function(task, _drop) if takes_advance else function(task)


def _drop(_: int) -> None: ...


def _result(reference: Any) -> Any:
    """Return the result of a task, or raise what it raised."""
    ray = _ray()
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, Exception) else ShardpackError(str(error))) from error
    except ray.exceptions.TaskUnschedulableError:
        raise  # asked for one node
    except ray.exceptions.RayError as error:
        raise ShardpackError(
            f"a Ray worker was lost, and its task failed again elsewhere: {error}; run the same command again"
        ) from error

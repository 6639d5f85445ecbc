"""The rows of all samples of a dataset, made by tasks that may run in other processes.

positions --65,536 at a time--> tasks --each opens the shards, and closes them--> rows --in order--> `build.write_rows`
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from shardpack.read.open_dataset import Origin, origin_of, reopen_shards
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.engine import Engine
from shardpack.table.build import BATCH_ROWS, all_positions, read_rows
from shardpack.table.rows import Naming, Rows

TASK_ROWS = 8 * BATCH_ROWS


def rows_of_dataset(
    cache: ShardCache, engine: Engine, first: int = 0, end: int | None = None, *, task_rows: int = TASK_ROWS
) -> Iterator[Rows]:
    """Yield the rows of samples in order; the same rows with any engine, and behind any first one.

    Args:
        cache: The dataset, as its newest manifest says.
        engine: Runs the tasks.
        first: Stored position of the first row that is needed.
        end: That behind the last one; None for all.
        task_rows: Rows of a task, a multiple of `BATCH_ROWS`.

    Raises:
        DecodeError: A label is not what its field's name says.
    """
    end = cache.manifest.num_samples if end is None else end
    if first == end:
        return
    done = first // task_rows * task_rows
    tasks = ((begin, min(begin + task_rows, end)) for begin in range(done, end, task_rows))
    with closing(engine.map(partial(_made, origin_of(cache), cache.verify), tasks, in_order=True)) as results:
        for _, made in results:
            for rows in made:
                known = min(max(first - done, 0), len(rows))
                done += len(rows)
                if known < len(rows):
                    yield Rows(rows.table.slice(known), rows.types)


def num_tasks(num_rows: int) -> int:
    """Return how many tasks make so many rows, which is how many jobs are of use."""
    return -(-num_rows // TASK_ROWS)


def _made(origin: Origin, verify: bool, task: tuple[int, int]) -> list[Rows]:
    begin, end = task
    with closing(reopen_shards(origin, verify=verify)) as cache:
        naming = Naming(cache.manifest.classes, cache.splits)
        return list(read_rows(cache, all_positions(end, first=begin), naming))

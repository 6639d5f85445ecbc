"""The order of a reader's tasks: loads before their chunk, each block once, and what comes next ahead of time."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.order.options import SHUFFLES, Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.view import SampleView
from shardpack.stream.plan import Chunk, Load, Planner
from shardpack.stream.schedule import Hint, OpenShards, TaskOrder

VIEW = SampleView(60, lambda: (np.array([0, 20, 27, 60]), np.array([2000, 700, 3300])))


def tasks_of(mode, *, reads_ahead, group=8):
    """Return the tasks of an epoch whose samples are planned in groups."""
    rank_slice = RankSlice(Partitioning(60, 2, 2), 0, 1)
    planner = Planner(VIEW, Shuffle(mode, 3, 300, 4), rank_slice, whole_blocks=mode == "blocks")
    groups = np.split(np.arange(60), range(group, 60, group))
    chunks = (chunk for numbers in groups for chunk in planner.chunks(0, *rank_slice.locate(numbers), group))
    return list(TaskOrder(planner, reads_ahead=reads_ahead).tasks(chunks))


def loads_of(tasks):
    return [task.id for task in tasks if isinstance(task, Load)]


@pytest.mark.parametrize("reads_ahead", [True, False])
@pytest.mark.parametrize("mode", SHUFFLES)
def test_the_loads_of_a_chunk_come_before_it_and_once(mode, reads_ahead):
    tasks, ready = tasks_of(mode, reads_ahead=reads_ahead), set()
    for task in tasks:
        if isinstance(task, Load):
            ready.add(task.id)
        elif isinstance(task, Chunk):
            assert set(task.load_ids) <= ready
    loads = loads_of(tasks)
    assert len(loads) == len(set(loads))
    assert sum(len(task.positions) for task in tasks if isinstance(task, Chunk)) == 60


def test_blocks_are_loaded_before_they_are_needed_only_where_reading_ahead_pays():
    needed = []
    for reads_ahead in (True, False):
        tasks = tasks_of("blocks", reads_ahead=reads_ahead)
        second = [at for at, task in enumerate(tasks) if isinstance(task, Chunk)][1]
        needed.append(len(loads_of(tasks[: second + 2])))
    assert needed[0] > needed[1]


def test_local_blocks_are_hinted_and_the_first_chunk_waits_for_none():
    tasks = tasks_of("blocks", reads_ahead=False)
    first = next(at for at, task in enumerate(tasks) if isinstance(task, Chunk))
    assert not any(isinstance(task, Hint) for task in tasks[:first])
    assert any(isinstance(task, Hint) for task in tasks[first:])
    assert not any(isinstance(task, OpenShards) for task in tasks)


def test_the_indexes_of_the_first_window_are_opened_together():
    tasks = tasks_of("blocks", reads_ahead=True)
    opened = [at for at, task in enumerate(tasks) if isinstance(task, OpenShards)]
    first = next(at for at, task in enumerate(tasks) if isinstance(task, Chunk))
    assert opened == [first + 1]
    assert not any(isinstance(task, Hint) for task in tasks)

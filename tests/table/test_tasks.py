"""Tasks make the rows that one process makes, in order, from any first row on."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import pytest

from shardpack.runtime.engine import IN_PROCESS
from shardpack.table.tasks import rows_of_dataset
from tests.table.datasets import cache_of, labelled, one_table, rows_of

LABELS = [{"class": "ab"[n % 2], "n": n, **({"late": "x"} if n == 9 else {})} for n in range(10)]


@dataclass
class Elsewhere:
    """An engine that sends functions, tasks and results as those of other processes do."""

    jobs: int = 2

    def map(self, function, tasks, *, in_order):
        assert in_order
        for number, task in enumerate(tasks):
            there, sent = pickle.loads(pickle.dumps((function, task)))
            yield number, pickle.loads(pickle.dumps(there(sent)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return labelled(tmp_path_factory.mktemp("tasks") / "ds", LABELS, max_shard_samples=4)


@pytest.mark.parametrize("engine", [IN_PROCESS, Elsewhere()])
@pytest.mark.parametrize("first", [0, 4, 6, 9, 10])
def test_rows_are_those_of_one_process(folder, engine, first):
    expected, types = one_table(rows_of(folder))
    found = list(rows_of_dataset(cache_of(folder), engine, first=first, task_rows=3))
    assert sum(map(len, found)) == 10 - first
    if found:
        table, own = one_table(found)
        assert own == types
        assert table.to_pylist() == expected.slice(first).to_pylist()

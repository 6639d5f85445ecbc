"""Shards one by one: what the quick check and the full one find, on disk and elsewhere; test_verify.py has the rest."""

from __future__ import annotations

import pytest

from shardpack.inspect.verify_shards import ShardTask, verify_in_processes, verify_in_threads
from shardpack.read.open_dataset import load_manifest
from shardpack.read.shard_list import ShardList
from shardpack.runtime.progress import ByteProgress
from shardpack.storage.local import LocalStore
from tests.read.damage import flip
from tests.read.datasets import numbered, write

RUNS = [verify_in_processes, verify_in_threads]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("full", [False, True])
def test_results_come_in_the_order_of_the_tasks(tmp_path, run, full):
    write(tmp_path, numbered(9), max_shard_samples=3)
    store, done = LocalStore(str(tmp_path)), []
    tasks = [ShardTask(store, store, info, full) for info in ShardList(store, load_manifest(store)[1])]
    flip(tmp_path / "shard-000001.tar", 512)
    verified = run(tasks, 1, ByteProgress("verify", 1, lambda _, count, __: done.append(count)))
    assert [[problem.kind for problem in one.problems] for one in verified] == [[], ["damaged"] * full, []]
    assert [one.hashes is None for one in verified] == [False, full, False]
    assert done[-1] == sum(task.info.num_bytes for task in tasks)


@pytest.mark.parametrize("full", [False, True])
def test_of_a_tar_without_visible_samples_only_the_index_counts(tmp_path, full):
    write(tmp_path, numbered(3))
    store = LocalStore(str(tmp_path))
    (info,) = ShardList(store, load_manifest(store)[1])
    flip(tmp_path / "shard-000000.tar", 0)
    (seen,) = verify_in_threads([ShardTask(store, store, info, full)], 1, ByteProgress("verify", 1, lambda *_: None))
    task = ShardTask(store, store, info, full, is_visible=False)
    (unseen,) = verify_in_threads([task], 1, ByteProgress("verify", 1, lambda *_: None))
    assert (len(seen.problems), seen.hashes) == (1, None)
    assert not unseen.problems
    assert unseen.hashes is not None
    (tmp_path / info.index_path).unlink()
    (lost,) = verify_in_threads([task], 1, ByteProgress("verify", 1, lambda *_: None))
    assert [problem.kind for problem in lost.problems] == ["missing"]

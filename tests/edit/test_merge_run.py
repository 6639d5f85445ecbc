"""The shards of a merged dataset: named from where they are, or under names that tell them apart."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.edit.merge_plan import MergeInput, MergePlan
from shardpack.edit.merge_run import MergedShards
from shardpack.read.open_dataset import open_shards
from shardpack.storage.local import LocalStore
from shardpack.storage.locations import LocationOptions


@pytest.fixture
def plan(tmp_path):
    inputs = []
    for name, options in (("a", {}), ("b", {"compress": {"shards": "zstd:1"}})):
        shardpack.pack(
            [(f"{name}{i}", {"txt": "x"}) for i in range(2)], tmp_path / name, max_shard_samples=1, **options
        )
        store = LocalStore(tmp_path / name)
        inputs.append(MergeInput(store.location, open_shards(store), LocationOptions()))
    yield MergePlan(inputs)
    for each in inputs:
        each.cache.close()


def test_shards_are_named_from_where_they_are(plan, tmp_path):
    found = MergedShards.named(plan, LocalStore(tmp_path / "out"))
    assert found.locations == ["../a", "../b"]
    names = ["shard-000000.tar", "shard-000001.tar"]
    names = [(0, name) for name in names] + [(1, f"{name}.zst") for name in names]
    assert [(shard.info.location, shard.info.name) for shard in found.all] == names
    assert found.copied == []
    assert found.not_copied == found.all


def test_copied_shards_have_names_that_differ(plan, tmp_path):
    (tmp_path / "a/shard-000001.tar").unlink()
    found = MergedShards.copied_from(plan)
    assert found.locations == ["."]
    assert [shard.old.name for shard in found.copied] == [shard.old.name for shard in found.all]
    assert len({shard.info.name for shard in found.all}) == 4
    assert [shard.info.name.endswith("-000001.tar.zst") for shard in found.all] == [False, False, False, True]


def test_a_tar_that_is_lost_and_that_nobody_reads_is_not_copied(tmp_path):
    shardpack.pack([(f"{i}", {"txt": "x"}) for i in range(2)], tmp_path, max_shard_samples=1)
    shardpack.delete(tmp_path, ["1"])
    (tmp_path / "shard-000001.tar").unlink()
    store = LocalStore(tmp_path)
    found = MergedShards.copied_from(MergePlan([MergeInput("one", open_shards(store), LocationOptions())]))
    assert [shard.is_copied for shard in found.all] == [True, False]
    assert found.not_copied == found.all[1:]

"""A dataset is known by some of its samples: in their place, with these bytes."""

from __future__ import annotations

import pytest

from shardpack.commit.folder_target import FolderTarget
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_table import ShardTable
from shardpack.runtime.engine import IN_PROCESS
from shardpack.sources.splits import sorted_by_split, with_splits
from shardpack.write.chunk_plan import plan_chunks
from shardpack.write.chunked_run import pack_chunks
from shardpack.write.listed_input import ListedInput
from shardpack.write.measure_chunks import measure
from shardpack.write.pack_chunk import close_applier
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.request import PackRequest
from shardpack.write.same_dataset import holds_planned_samples
from shardpack.write.sharding import ShardLimits
from tests.write.chunk_steps import Grow, listing, recipe

STEP = Grow(0.7, drop="7", twice="b/")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    target = FolderTarget(str(tmp_path_factory.mktemp("out")))
    pack_chunks(ListedInput(listing(40)), recipe(STEP), target, PackRequest(), recorded={}, engine=IN_PROCESS)
    return target


def holds(target, *, found=None, step=STEP, **limits):
    found, made = found or listing(40), recipe(step, **limits)
    table = ShardTable.whole(parse_manifest(target.read(MANIFEST_PATH)), target.read)
    try:
        packed = ListedInput(found)
        plan = plan_chunks(packed, made, measure(packed, made, IN_PROCESS))
        return holds_planned_samples(plan, table, target.read)
    finally:
        close_applier()


def test_its_own(target):
    assert holds(target)


@pytest.mark.parametrize(
    "other",
    [
        {"found": listing(40, seed=1)},
        {"found": listing(4)},
        {"found": listing(80)},
        {"step": Grow(0.6, drop="7", twice="b/")},
        {"step": Grow(0.7, drop="7")},
        {"max_bytes": 9_000},
    ],
)
def test_of_another_plan(target, other):
    assert not holds(target, **other)


def test_planned_shards_are_no_chunks(tmp_path):
    target = FolderTarget(str(tmp_path))
    pack_plan(plan_shards(listing(40), ShardLimits()), target, PackRequest(), recorded={})
    assert not holds(target)


def test_chunks_of_splits(tmp_path):
    found = sorted_by_split(with_splits(listing(40), ["val", "train"] * 20))
    target = FolderTarget(str(tmp_path))
    pack_chunks(ListedInput(found), recipe(STEP), target, PackRequest(), recorded={}, engine=IN_PROCESS)
    assert {name.partition("-")[0] for name in target.names() if name.endswith(".tar")} == {"train", "val"}
    assert holds(target, found=found)
    assert not holds(target)
    assert not holds(target, found=sorted_by_split(with_splits(listing(40), ["train", "val"] * 20)))

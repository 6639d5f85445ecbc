"""What was packed in the namespace of an edit: shards, hashes, keys and splits, as the dataset will know them."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.edit.added_shards import AddedShards
from shardpack.edit.base import open_base
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import AppendedSplits
from shardpack.format.splits import NO_SPLIT, Splits
from tests.commit.test_namespace_target import FOLDER, TAG, Inside

KEYS = [f"k{i}" for i in range(5)]


@pytest.fixture
def made(tmp_path):
    """Return the base, the target and what was packed there."""
    shardpack.pack([("old", {"txt": "old"})], tmp_path)
    base = open_base(tmp_path)
    target = Inside(base.store).target()
    with shardpack.ShardWriter(target, max_shard_samples=2) as writer:
        for key in KEYS:
            writer.write(key, {"txt": key})
    return base, target, AddedShards.of(target)


def test_it_knows_what_was_packed(made):
    _, target, added = made
    assert [info.name for info in added.shards] == [f"shard-{i:06d}.tar" for i in range(3)]
    assert added.hashes.tolist() == hash_keys(KEYS).tolist()
    assert added.keys(target) == [key.encode() for key in KEYS]
    assert [(info.name, info.location) for info in added.named(TAG, 1)] == [
        (f"shard-{TAG}-{i:06d}.tar", 1) for i in range(3)
    ]
    assert FOLDER


def test_the_new_samples_are_read_before_they_are_committed(made):
    base, _, added = made
    cache = added.cache(base, TAG, 0, (".",))
    assert [cache.at(position).keys.key_at(position) for position in range(5)] == [key.encode() for key in KEYS]
    cache.close()


def test_nothing_may_have_been_packed(tmp_path):
    base = open_base(shardpack.pack([("old", {"txt": "old"})], tmp_path).out)
    target = Inside(base.store).target()
    shardpack.ShardWriter(target).close()
    added = AddedShards.of(target)
    assert (added.num_samples, list(added.shards)) == (0, [])
    splits = Splits(("a",), np.array([0]), np.array([1]), np.array([0], np.uint16))
    assert len(added.splits(splits, 1).begin) == 0


def test_splits_by_ranges_and_by_hashes(made):
    _, _, added = made
    assert added.splits(None, 1) is None
    ranges = Splits(("a", "b"), np.array([0, 2]), np.array([1, 4]), np.array([0, 1], np.uint16))
    found = added.splits(ranges, 1)
    assert found.numbers(np.arange(1, 6)).tolist() == [NO_SPLIT, 1, 1, NO_SPLIT, NO_SPLIT]
    rule = AppendedSplits(1, {"a": (0, 1 << 32)})
    falling = Splits(ranges.names, ranges.begin, ranges.end, ranges.number, rule)
    assert added.splits(falling, 1).numbers(np.arange(1, 6)).tolist() == [0, 1, 1, 0, 0]

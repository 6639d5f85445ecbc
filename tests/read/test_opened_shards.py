"""Shards that hold some positions are opened in groups, each once."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from shardpack.read import shard_list
from shardpack.read.open_dataset import open_shards
from shardpack.read.opened_shards import opened_shards
from shardpack.storage.local import LocalStore
from tests.read.datasets import numbered, write


@pytest.mark.parametrize("max_bytes", [1 << 20, 1])
def test_each_shard_comes_once_with_its_positions(tmp_path, monkeypatch, max_bytes):
    monkeypatch.setattr(shard_list, "MAX_INDEX_BYTES_AT_ONCE", max_bytes)
    write(tmp_path, numbered(10), max_shard_samples=3)
    positions = np.array([0, 0, 2, 7, 8, 9])
    with closing(open_shards(LocalStore(tmp_path))) as cache:
        found = [(shard.number, positions[own].tolist()) for shard, own in opened_shards(cache, positions)]
        assert found == [(0, [0, 0, 2]), (2, [7, 8]), (3, [9])]
        assert list(opened_shards(cache, positions[:0])) == []

"""The shards as a lazy sequence."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.dataset import open_dataset
from tests.read.datasets import CountingStore, numbered, packed


@pytest.fixture(scope="module")
def shards():
    return open_dataset(CountingStore(packed(numbered(25), max_shard_samples=4))).shards


def test_it_is_a_sequence(shards):
    names = [f"shard-{number:06d}.tar" for number in range(7)]
    assert [info.name for info in shards] == [shards[i].name for i in range(len(shards))] == names
    assert shards[-1] == shards[6]
    assert [info.name for info in shards[1:3]] == names[1:3]
    assert shards == list(shards) != list(shards)[:-1]
    assert repr(shards) == "<ShardList: 7 shards>"
    for number in (7, -8):
        with pytest.raises(IndexError, match="there are 7"):
            shards[number]


def test_which_shard_holds_a_position(shards):
    positions = np.array([24, 0, 3, 4, 7, 8, 23])
    expected = [6, 0, 0, 1, 1, 2, 5]
    assert [shards.locate(position) for position in positions.tolist()] == expected
    assert shards.locate_many(positions).tolist() == expected
    assert [shards.first(number) for number in range(8)] == [0, 4, 8, 12, 16, 20, 24, 25]


def test_columns(shards):
    columns = shards.columns
    assert columns.starts.tolist() == [0, 4, 8, 12, 16, 20, 24, 25]
    assert columns.num_bytes.tolist() == [info.num_bytes for info in shards]
    assert shards.num_bytes == sum(info.num_bytes for info in shards)
    assert shards.num_samples == 25

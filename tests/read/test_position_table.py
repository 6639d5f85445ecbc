"""Which open shard holds a position: tables with shards added and removed, against a search of all shards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.dataset import open_dataset
from shardpack.read.position_table import PositionTable
from tests.read.datasets import CountingStore, numbered, packed


@pytest.fixture(scope="module")
def shards():
    cache = open_dataset(CountingStore(packed(numbered(30), max_shard_samples=4))).stream_input().cache
    return [cache.get(number) for number in range(8)]


@given(st.lists(st.integers(0, 7)), st.sets(st.integers(0, 7)))
def test_every_position_finds_its_open_shard(shards, toggled, with_map):
    table, is_open = PositionTable([], [None], [None]), set()
    for number in toggled:
        table = table.without(shards[number]) if number in is_open else table.with_shard(shards[number])
        is_open ^= {number}
    for number in is_open & with_map:
        table.exchange(shards[number].with_map(b"a tar"))
    positions = np.arange(30)
    entries = np.searchsorted(table.bounds, positions, side="right").tolist()
    opened = [table.shards[entry] for entry in entries]
    assert [None if shard is None else shard.number for shard in opened] == [
        i // 4 if i // 4 in is_open else None for i in range(30)
    ]
    assert [shard is not None for shard in table.find_mapped(positions)] == [
        i // 4 in is_open & with_map for i in range(30)
    ]
    groups = table.groups(positions[::-1])
    assert sorted(at for _, which in groups for at in which.tolist()) == list(range(30))
    assert all(table.mapped_at(29 - at) is shard for shard, which in groups for at in which.tolist())

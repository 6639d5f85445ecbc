"""What `encode_shard_table` refuses, and how much it writes; tests/format/test_shard_table.py reads it back."""

from __future__ import annotations

import pytest

from shardpack.errors import FormatError
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table_writer import encode_shard_table


def test_a_shard_takes_what_its_names_and_numbers_need():
    shards = [ShardInfo(f"shard-{n:06d}.tar", 1, 1024, n, 100, n, {"jpg": 1, "json": 1}) for n in range(512)]
    one, half = (sum(map(len, encode_shard_table(part))) for part in (shards, shards[:256]))
    numbers = 3 * 8 + 5 * 4 + 1 + 2 * (8 + 2)  # of a shard with two fields
    assert (one - half) // 256 == numbers + len(shards[0].name)


def test_field_names_that_are_too_many_are_refused():
    shards = [
        ShardInfo(f"{n}.tar", 1, 1, 0, 1, 0, {f"{n:03d}-{i:03d}-{'f' * 80}": 1 for i in range(200)}) for n in range(100)
    ]
    with pytest.raises(FormatError, match="list of different fields takes"):
        encode_shard_table(shards)

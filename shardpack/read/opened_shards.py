"""The shards that hold some positions, opened one group after the other."""

from __future__ import annotations

from collections.abc import Iterator

from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers


def opened_shards(cache: ShardCache, ascending: Integers) -> Iterator[tuple[ShardReader, slice]]:
    """Yield each shard that holds some of these positions, and which of the positions: a slice of them.

    Indexes are fetched together, of as many shards as may be opened at once.

    Args:
        cache: Opens the shards.
        ascending: Positions in the dataset, ascending; repeats are allowed.
    """
    for runs in cache.shard_list.groups(ascending):
        for shard, run in zip(cache.load(run.number for run in runs), runs, strict=True):
            yield shard, slice(run.begin, run.end)

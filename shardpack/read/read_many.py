r"""`get_many`: samples at many positions, in the order asked.

positions --local, all fields--> mapped shards: cut; lone samples: read one by one; the others: by plan
\--otherwise--> `planned_read.py`
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from shardpack.read.layers import LayeredReader
from shardpack.read.planned_read import PlannedReader
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader, cut_each, cut_samples
from shardpack.runtime.arrays import Integers

_COLUMN_SAMPLES = 16  # samples per mapped shard from which numpy finds their bounds faster


def read_samples(cache: ShardCache, positions: Integers, fields: tuple[str, ...] | None) -> list[Sample]:
    """Return the samples at `positions`, in that order; reads are sorted, and merged within a shard.

    Args:
        cache: Opens the shards.
        positions: Positions in the whole dataset; repeats are allowed.
        fields: The fields to read; None for all.
    """
    if fields is None and not cache.stores.remote:
        if cache.manifest.layers:
            return _read_layered(cache, positions)
        return read_local(cache, positions.tolist(), positions)
    return PlannedReader(cache, fields).read(positions)


def read_local(cache: ShardCache, wanted: list[int], positions: Integers) -> list[Sample]:
    """Return local samples with all fields.

    Samples of mapped shards are cut, lone samples are read one by one, and the others by plan.

    Args:
        cache: Opens the shards.
        wanted: Positions in the whole dataset.
        positions: The same as an array.
    """
    _prefetch(cache, wanted)
    mapped = cache.by_position.find_mapped(positions)
    if None not in (different := set(mapped)):
        for shard in (shards := cast("set[ShardReader]", different)):
            shard.used = True
        if len(wanted) >= _COLUMN_SAMPLES * len(shards):
            return _cut_by_column(shards, positions)
        return cut_each(cast("list[ShardReader]", mapped), wanted)
    samples, rest = [], []
    has_neighbours = _with_neighbours(positions).tolist()
    for at, (mapped_shard, has_neighbour, position) in enumerate(zip(mapped, has_neighbours, wanted, strict=True)):
        if mapped_shard is not None:
            samples.append(mapped_shard.cut(position))
        elif has_neighbour:
            rest.append(at)
            samples.append(Sample())
        else:
            samples.append(cache.read(position))
    for at, sample in zip(rest, PlannedReader(cache, None).read(positions[rest]) if rest else (), strict=True):
        samples[at] = sample
    return samples


def _read_layered(cache: ShardCache, positions: Integers) -> list[Sample]:
    """Return samples of a local base with layers: neighbours by plan, unless the base's shard is mapped."""
    if any(layer.cache.stores.remote for layer in cache.layers):
        return PlannedReader(cache, None).read(positions)
    reader = LayeredReader(cache)
    is_mapped = [shard is not None for shard in cache.by_position.find_mapped(positions)]
    alone = np.array(is_mapped, bool) | ~_with_neighbours(positions)
    samples = [reader.read(at) if one else Sample() for one, at in zip(alone.tolist(), positions.tolist(), strict=True)]
    rest = np.flatnonzero(~alone)
    planned = PlannedReader(cache, None).read(positions[rest]) if len(rest) else []
    for at, sample in zip(rest.tolist(), planned, strict=True):
        samples[at] = sample
    return samples


def _cut_by_column(shards: Iterable[ShardReader], positions: Integers) -> list[Sample]:
    """Return samples of a few mapped shards; the bounds of all payloads of a field are looked up together."""
    samples: list[Any] = [None] * len(positions)
    for shard in shards:
        rows = positions - shard.first
        own = np.flatnonzero((rows >= 0) & (rows < len(shard)))
        bounds = []
        for column in range(shard.width):
            member = rows[own] * shard.width + column
            begins = shard.index.data_offset[member]
            bounds += [begins.tolist(), (begins + shard.index.size[member]).tolist()]
        count = len(own)
        cut = cut_samples(shard.fields, [shard.mapped] * count, bounds, positions[own].tolist(), [shard.keys] * count)
        for at, sample in zip(own.tolist(), cut, strict=True):
            samples[at] = sample
    return samples


def _with_neighbours(positions: Integers) -> npt.NDArray[np.bool_]:
    """Return (n) which positions should be read by plan: neighbours and repeated positions.

    A plan costs 20 us per shard (2-core VM), as much as reading many samples one by one.
    """
    order = np.argsort(positions, kind="stable")
    adjacent = np.diff(positions[order]) <= 1
    result = np.zeros(len(positions), bool)
    result[order[1:]] |= adjacent
    result[order[:-1]] |= adjacent
    return result


def _prefetch(cache: ShardCache, positions: list[int]) -> None:
    """Announce the ranges of samples if the last one is not in memory: page faults and reads then overlap."""
    if len(positions) < 2:
        return
    last = positions[-1]
    shard = cache.at(last)
    if shard.store.is_cached(shard.path, shard.extent(last)[0]):
        return
    wanted: dict[int, tuple[ShardReader, list[int], list[int]]] = {}
    for position in positions:
        shard = cache.at(position)
        start, length = shard.extent(position)
        _, starts, lengths = wanted.setdefault(shard.number, (shard, [], []))
        starts.append(start)
        lengths.append(length)
    for shard, starts, lengths in wanted.values():
        shard.store.prefetch(shard.path, starts=starts, lengths=lengths)

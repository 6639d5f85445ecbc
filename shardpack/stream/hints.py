"""Hints to a local store about what will be needed soon: one probe per block, and none for what is in memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shardpack.read.layer_positions import NONE
from shardpack.read.layered_plan import found_in, wanted_layers
from shardpack.read.read_plan import plan_read
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits, coalesce

# Linux reads no more for one hint than the read-ahead window of the disk, 128 KiB by default.
HINT_BYTES = 128 << 10
_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=1 << 40)


def prefetch(cache: ShardCache, positions: Integers, fields: tuple[str, ...] | None) -> None:
    """Tell the stores that some samples of one shard will be needed, unless the first of them is in memory."""
    shard = cache.at(int(positions[0]))
    _prefetch_rows(shard, positions - shard.first, fields)
    for layer in wanted_layers(cache, fields):
        given, first = layer.given(fields), layer.positions.at(int(positions[0]))
        if first != NONE and _is_cached(layer.cache.at(first), first, given):
            continue  # the usual case: without looking all samples up
        own, _ = found_in(layer, positions)
        for number, begin, end in layer.cache.shard_list.runs(own):
            shard = layer.cache.get(number)
            _prefetch_rows(shard, own[begin:end] - shard.first, given)


def _prefetch_rows(shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None) -> None:
    if _is_cached(shard, int(rows[0]) + shard.first, fields):
        return
    starts, ends = _extents(shard, np.sort(rows), fields)
    plan = coalesce(starts, ends - starts, limits=_LIMITS)
    hints = [hint for run in zip(plan.starts.tolist(), plan.lengths.tolist(), strict=True) for hint in _cut(*run)]
    if hints:
        hint_starts, hint_lengths = zip(*hints, strict=True)
        shard.store.prefetch(shard.path, starts=hint_starts, lengths=hint_lengths)


def _is_cached(shard: ShardReader, position: int, fields: tuple[str, ...] | None) -> bool:
    if fields is None:  # the usual case: without a plan it takes a tenth of the time
        return shard.store.is_cached(shard.path, shard.extent(position)[0])
    first = _extents(shard, np.array([position - shard.first]), fields)[0].tolist()
    return bool(first) and shard.store.is_cached(shard.path, first[0])


def _extents(shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None) -> tuple[Integers, Integers]:
    """Return where the payloads of each row begin and end; rows without any of the fields are left out."""
    plan = plan_read(shard, rows, fields)
    if not len(plan.owner):
        return plan.starts, plan.starts
    heads = np.flatnonzero(np.diff(plan.owner, prepend=-1))
    return np.minimum.reduceat(plan.starts, heads), np.maximum.reduceat(plan.starts + plan.sizes, heads)


def _cut(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield a range as hints, (start, length) each."""
    for at in range(start, start + length, HINT_BYTES):
        yield at, min(HINT_BYTES, start + length - at)

"""Samples of a base and its layers, cut out of the buffers of all of them when they are handed out.

parts of base and layers --one range each, read together--> buffers
table of bounds (rows, 3 * fields): which buffer holds each payload, and where it begins and ends there
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shardpack.read.layered_cut import NO_BUFFER, cut_layered
from shardpack.read.layered_plan import Part
from shardpack.read.sample import KeySource, Sample
from shardpack.read.shard_reader import map_view
from shardpack.runtime.arrays import Integers, each_of
from shardpack.runtime.threads import call_all
from shardpack.storage.buffer_pool import view_of
from shardpack.stream.block_buffer import check_payloads, is_in_memory, span


@dataclass(frozen=True, slots=True, eq=False)
class LayeredBlock:
    """Samples of one shard of a base with layers, in several buffers.

    Attributes:
        buffers: Bytes, pooled buffers, or maps, whose slices are payloads; numbered from 1.
        bounds: (rows, 3 * fields) number of each payload's buffer, 0 for a missing field, and begin and end there.
        fields: Names of the fields, in the order of the bounds.
        num_bytes: Memory of the buffers that are no maps.
        keys: The keys of the base's shard.
    """

    buffers: tuple[Any, ...]
    bounds: Integers
    fields: tuple[str, ...]
    num_bytes: int
    keys: KeySource

    def __len__(self) -> int:
        return len(self.bounds)

    @staticmethod
    def slice_many(
        blocks: Sequence[LayeredBlock], owner: Integers, bounds: Integers, positions: Integers
    ) -> Iterator[Sample]:
        first = np.cumsum([0, *(len(block.buffers) for block in blocks)])[:-1][owner]
        buffers = [None, *(buffer for block in blocks for buffer in block.buffers)]
        columns = list(bounds.T)
        for at in range(0, len(columns), 3):
            columns[at] = np.where(columns[at] == NO_BUFFER, NO_BUFFER, columns[at] + first)
        keys = each_of([block.keys for block in blocks], owner)
        return cut_layered(blocks[0].fields, buffers, columns, positions.tolist(), keys)


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """How a part is read.

    Attributes:
        part: The part.
        get: Returns its buffers.
        owner: (p) which of these will hold each payload; None if there is one.
        begins: (p) where each payload will begin there.
        num_bytes: Memory that the buffers take; 0 for a map.
    """

    part: Part
    get: Callable[[], list[Any]]
    owner: Integers | None
    begins: Integers
    num_bytes: int


def plan_block(
    parts: Sequence[Part],
    fields: tuple[str, ...],
    keys: KeySource,
    count: int,
    *,
    mapped: bool,
    views: bool,
) -> BlockPlan:
    """Return how to read samples of one shard of a base with layers.

    Args:
        parts: What to read of base and layers.
        fields: All fields that samples of the stream may have.
        keys: The keys of the base's shard.
        count: Number of the samples.
        mapped: Whether to use maps, if the stores have maps and the samples are in memory.
        views: Whether payloads in a map are views of it.
    """
    return BlockPlan([_how_to_read(part, mapped=mapped, views=views) for part in parts], fields, keys, count)


class BlockPlan:
    """How a block is read.

    Attributes:
        num_bytes: Memory that its buffers will take; maps take none.
    """

    def __init__(self, reads: Sequence[_Read], fields: tuple[str, ...], keys: KeySource, count: int) -> None:
        self._reads, self._fields, self._keys, self._count = reads, fields, keys, count
        self.num_bytes = sum(read.num_bytes for read in reads)

    def read(self) -> LayeredBlock:
        """Return the block; requests to stores that wait for a network are made together.

        Raises:
            CorruptShardError: A payload does not match its checksum in the index.
        """
        reads = self._reads
        remote = any(read.num_bytes and read.part.plan.shard.store.remote for read in reads)
        fetched = call_all(lambda read: read.get(), reads, limit=len(reads) if remote else 1, purpose="block")
        bounds = np.zeros((3 * len(self._fields), self._count), np.int64)
        buffers: list[Any] = []
        for read, own in zip(reads, fetched, strict=True):
            plan = read.part.plan
            if read.num_bytes:
                plan.shard.store.stats.add_used(plan.num_bytes)
                if read.part.cache.verify:
                    check_payloads(plan, [view_of(buffer) for buffer in own], read.owner, read.begins)
            self._enter(read, len(buffers) + 1, bounds)
            buffers += own
        return LayeredBlock(tuple(buffers), bounds.T, self._fields, self.num_bytes, self._keys)

    def _enter(self, read: _Read, first: int, bounds: Integers) -> None:
        """Enter where payloads are into (3 * fields, rows) bounds; `first` is the number of the first buffer."""
        plan, at = read.part.plan, read.part.at
        holder: Any = first if read.owner is None else read.owner + first
        values = (holder, read.begins, read.begins + plan.sizes)
        if not read.part.is_grid:
            columns = 3 * np.array([_number(self._fields, name) for name in plan.shard.fields], np.int64)[plan.field]
            for offset, value in enumerate(values):
                bounds[columns + offset, at[plan.owner]] = value
            return
        width = len(plan.fields)
        is_all = len(at) == self._count and bool((at[1:] > at[:-1]).all())
        rows = slice(None) if is_all else at
        for number, name in enumerate(plan.fields):
            column = 3 * self._fields.index(name)
            for offset, value in enumerate(values):
                bounds[column + offset, rows] = value[number::width] if isinstance(value, np.ndarray) else value


def _number(fields: tuple[str, ...], name: str) -> int:
    return fields.index(name) if name in fields else -1  # one that is not read


def _how_to_read(part: Part, *, mapped: bool, views: bool) -> _Read:
    """Return how to read a part: from the map of its shard, in one range, or in several."""
    plan, shard = part.plan, part.plan.shard
    start, end = span(plan)
    if mapped and not part.cache.verify:
        map_ = part.cache.map(shard).mapped
        if map_ is not None and is_in_memory(plan, start, end):
            buffers = [map_view(map_) if views else map_]
            return _Read(part, lambda: buffers, None, plan.starts, 0)
    if (len(plan.fields) == shard.width or part.reads_gaps) and 2 * plan.stored_bytes >= end - start:
        get = partial(shard.store.get_pooled_range, shard.path, start=start, length=end - start)
        return _Read(part, lambda: [get()], None, plan.starts - start, end - start)
    requests = plan.requests(part.merge_limits(neighbours=True))
    ranges = requests.ranges
    get_ranges = partial(shard.store.get_ranges, shard.path, starts=ranges.starts, lengths=ranges.lengths)
    return _Read(part, get_ranges, requests.owner, requests.begins, sum(ranges.lengths))

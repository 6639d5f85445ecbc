"""Reading one load, in the way that suits its store and samples, within a budget of memory.

`Buffered`         one buffer, or a map, out of which samples are cut when they are handed out
`SamplesInMemory`  samples that were read field by field
`Lazy`             samples that are each cut or read when they are asked for
`ReadAlone`        nothing: damaged, or too large; the consumer reads sample by sample
`DoesNotFit`       nothing yet: the budget is used up; try again when a chunk needs the load
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from shardpack.errors import FormatError, ShardNotFoundError
from shardpack.read.framed_cut import cut_framed
from shardpack.read.layered_plan import plan_layered
from shardpack.read.layers import LayeredReader
from shardpack.read.planned_read import PlannedReader
from shardpack.read.read_plan import ReadPlan, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_list import ShardRun
from shardpack.read.shard_reader import ShardReader, map_view
from shardpack.runtime.arrays import Integers
from shardpack.stream.block_buffer import Block, pack_block, span
from shardpack.stream.layered_block import plan_block
from shardpack.stream.limits import MAX_PART_BYTES, MemoryBudget, ReaderSetup
from shardpack.stream.plan import Load
from shardpack.stream.stream_input import StreamInput

_MAX_LOAD_BLOCKS = 4  # a load of more than this many times the usual bytes is read sample by sample
_MAX_CUT_BYTES = 64 << 20  # of a sample that is cut from a map
_FEW_RUNS, _MIN_RUN_SAMPLES = 4, 256  # many short runs cost more to plan than what they save
_PROBES = 4  # samples of a chunk that tell whether the chunk is in memory


@dataclass(frozen=True, slots=True, eq=False)
class Buffered:
    """A load in one buffer."""

    block: Block

    @property
    def held_bytes(self) -> int:
        """Bytes to give back to the budget; 0 for a map."""
        return self.block.num_bytes


@dataclass(frozen=True, slots=True, eq=False)
class SamplesInMemory:
    """A load as samples."""

    samples: list[Sample]
    held_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Lazy:
    """A load whose samples are made one by one, in their order, when they are asked for."""

    samples: Iterator[Sample]
    held_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ReadAlone:
    """A load that must be read sample by sample: to raise the right error, or because it is too large."""

    held_bytes: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class DoesNotFit:
    """A load that was not read, because the budget was used up."""

    held_bytes: int = 0


Content = Buffered | SamplesInMemory | Lazy | ReadAlone | DoesNotFit


class LoadReader:
    """Reads loads and single samples. Thread-safe.

    Args:
        stream_input: The samples.
        setup: The memory, the usual length of a load, and what chunks are like.
    """

    def __init__(self, stream_input: StreamInput, setup: ReaderSetup) -> None:
        self._input, self._cache, self._fields = stream_input, stream_input.cache, stream_input.wanted_fields
        self._neighbours, self._views = setup.neighbours, setup.views
        self._planned = PlannedReader(self._cache, self._fields, neighbours=setup.neighbours)
        self._alone = PlannedReader(self._cache, self._fields, neighbours=setup.neighbours, from_maps=False)
        self._planned_block = PlannedReader(self._cache, self._fields, neighbours=True)
        self._max_bytes = _MAX_LOAD_BLOCKS * setup.load_bytes
        self._most_bytes = max(self._max_bytes, setup.memory_bytes // 4)  # however well a shard is compressed
        self._budget = MemoryBudget(setup.memory_bytes)

    def read(self, load: Load) -> Content:
        """Return what was read of a load; `release` it later. Costs one request for a block that is not in memory."""
        if self._neighbours and self._input.is_cut_from_frames:
            return Lazy(chain.from_iterable(self._framed(load.positions)))
        try:
            return self._in_one_buffer(load) or self._listed(load)
        except (FormatError, ShardNotFoundError):
            return ReadAlone()

    def release(self, content: Content) -> None:
        """Give the memory of a load back to the budget."""
        if content.held_bytes:
            self._budget.give_back(content.held_bytes)

    def read_alone(self, positions: Integers) -> Iterator[Iterable[Sample]]:
        """Yield samples that no load holds, in parts."""
        return self._alone.parts(positions, max_bytes=MAX_PART_BYTES)

    def _framed(self, positions: Integers) -> Iterator[Iterable[Sample]]:
        """Yield samples in parts, each a run of one shard that is cut out of one frame after the other."""
        numbers = self._cache.shard_list.locate_many(positions)
        begins_run = (np.diff(numbers, prepend=-1) != 0) | (np.diff(positions, prepend=-1) <= 0)
        edges = [*np.flatnonzero(begins_run).tolist(), len(positions)]
        if len(edges) > max(_FEW_RUNS, len(positions) // _MIN_RUN_SAMPLES):
            yield from self.read_alone(positions)
            return
        for begin, end in pairwise(edges):
            own, shard = positions[begin:end], self._cache.get(int(numbers[begin]))
            samples = cut_framed(plan_read(shard, own - shard.first, self._fields), own)
            yield chain.from_iterable(self.read_alone(own)) if samples is None else samples

    def _in_one_buffer(self, load: Load) -> Content | None:
        """Read a load whose samples follow one another in one shard; None if another way is better."""
        positions, cache, is_local = load.positions, self._cache, not self._input.is_remote
        shard = cache.at(int(positions[0]))
        may_map = is_local and not cache.verify
        if not load.id.is_block:
            is_large = is_local and shard.has_large_samples()
            may_cut = may_map and self._fields is None and (is_large or not self._neighbours)
            if may_cut and self._are_cached(positions[:: 1 + len(positions) // _PROBES]):
                return Lazy(_cut(cache, positions, keep_maps=is_large, views=self._views))
            if is_large or not self._neighbours:
                return None
        if int(positions[-1]) >= shard.first + shard.info.num_samples or not (positions[1:] > positions[:-1]).all():
            return None
        if cache.manifest.layers:
            return self._layered(shard, load, may_map=may_map)
        return self._buffered(plan_read(shard, positions - shard.first, self._fields), may_map=may_map)

    def _buffered(self, plan: ReadPlan, *, may_map: bool) -> Content | None:
        if not len(plan.starts):
            return None
        start, end = span(plan)
        if not self._budget.take(end - start):
            return DoesNotFit()
        block = None
        try:
            max_bytes = self._max_bytes_of(plan.shard)
            block = pack_block(self._cache, plan, max_bytes=max_bytes, mapped=may_map, views=self._views)
        finally:
            if block is None or not block.num_bytes:
                self._budget.give_back(end - start)
        return None if block is None else Buffered(block)

    def _layered(self, shard: ShardReader, load: Load, *, may_map: bool) -> Content | None:
        """Read samples of one shard of a base with layers: a range of the base, and one of each layer, together."""
        positions, count = load.positions, len(load.positions)
        parts = plan_layered(self._cache, positions, [shard], [ShardRun(shard.number, 0, count)], self._fields)
        plan = plan_block(parts, self._input.fields, shard.keys, count, mapped=may_map, views=self._views)
        if not parts or plan.num_bytes > self._max_bytes_of(shard):
            return None
        if not self._budget.take(plan.num_bytes):
            return DoesNotFit()
        block = None
        try:
            block = plan.read()
        finally:
            if block is None or not block.num_bytes:
                self._budget.give_back(plan.num_bytes)
        return Buffered(block)

    def _max_bytes_of(self, shard: ShardReader) -> int:
        """Return how long a load may be: the limit is that of a mean shard, which this one may be compressed better."""
        index = shard.index
        scaled = int(self._max_bytes * index.plain_bytes / (index.shard_bytes * self._input.expansion))
        return max(self._max_bytes, min(scaled, self._most_bytes))

    def _are_cached(self, positions: Integers) -> bool:
        """Return whether samples are in memory, so that cutting them from maps when they are asked for is best.

        A dropped sample leaves memory that is still in the processor's caches: the next sample is copied
        there three times as fast as a chunk at a time (110 KB samples, 2-core VM).
        """
        for position in positions.tolist():
            shard = self._cache.at(position)
            if not shard.store.is_cached(shard.path, shard.extent(position)[0]):
                return False
        return True

    def _listed(self, load: Load) -> Content:
        """Read a load of any samples, field by field."""
        is_block = load.id.is_block
        max_bytes = self._max_bytes if self._input.is_remote or is_block else MAX_PART_BYTES
        num_bytes = min(max_bytes, len(load.positions) * self._input.mean_bytes)
        if not self._budget.take(num_bytes):
            return DoesNotFit()
        samples = None
        try:
            planned = self._planned_block if is_block else self._planned
            samples = planned.read_small(load.positions, max_bytes=max_bytes)
        finally:
            if samples is None:
                self._budget.give_back(num_bytes)
        return ReadAlone() if samples is None else SamplesInMemory(samples, num_bytes)


def _cut(cache: ShardCache, positions: Integers, *, keep_maps: bool, views: bool) -> Iterator[Sample]:
    """Yield samples, each cut from the map of its shard when it is asked for, or read."""
    if cache.manifest.layers:
        layered = LayeredReader(cache)
        if keep_maps:
            yield from (layered.cut(position, views=views) for position in positions.tolist())
        else:
            yield from layered.read_each(positions)
        return
    if keep_maps:
        yield from _cut_large(cache, positions.tolist(), views=views)
        return
    for position in positions.tolist():
        mapped = cache.by_position.mapped_at(position)
        yield cache.read(position) if mapped is None else mapped.cut_views(position) if views else mapped.cut(position)


def _cut_large(cache: ShardCache, positions: list[int], *, views: bool) -> Iterator[Sample]:
    """Yield samples as `_cut` does; maps shards that are not mapped yet."""
    shard, view = None, None
    for position in positions:
        if shard is None or not shard.first <= position < shard.first + len(shard):
            shard = cache.at(position)
            shard = cache.map(shard) if shard.dense else shard
            view = map_view(shard.mapped) if views and shard.mapped is not None else None
        is_cut = shard.dense and shard.mapped is not None
        if is_cut and shard.extent(position)[1] <= _MAX_CUT_BYTES:  # pages of a longer one would count as memory
            yield shard.cut(position, view)
        else:
            yield shard.read(position, verify=False)

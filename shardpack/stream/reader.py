"""`Reader`: the samples of chunks, in their order, each load read once and kept while chunks take samples from it.

    chunks --in order of need--> loads, and the chunk behind its own --`ordered_map`--> buffers --> samples

The one reader of streams and mixes. How far it reads ahead is the store's to say: a remote one is read
by threads, so many loads ahead; a local one when a chunk is asked for, after hints about the next blocks.

Memory: what is kept and what is under way stay within a budget of bytes. A load that does not fit is
tried again when a chunk needs it; if it still does not, the chunk's samples are read by themselves.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np

from shardpack.errors import FormatError, ShardNotFoundError
from shardpack.read.planned_read import read_parts, read_small
from shardpack.read.read_plan import ReadPlan, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.arrays import Integers
from shardpack.runtime.freed_memory import keep_freed_memory
from shardpack.runtime.sizes import parse_bytes
from shardpack.runtime.threads import ordered_map
from shardpack.stream.block_buffer import BlockBuffer, BlockTable, pack_block, span
from shardpack.stream.hints import prefetch
from shardpack.stream.plan import Chunk, Load, Name, Planner
from shardpack.stream.source import Source

Parts = Generator[Iterable[Sample], None, None]  # samples as a reader hands them out; to be closed

CHUNK_BYTES = 4 << 20  # of the shard, by the mean of the dataset
RUN_BYTES = 2 << 20  # the same for neighbours, read in one go: a third faster than 4 MiB, as it stays in the cache
MAX_PART_BYTES = 4 << 20  # of payloads that are made into samples at once; a larger sample comes alone
MAX_LOAD_BLOCKS = 4  # a load of so many times the usual bytes is read sample by sample
MAX_CUT_BYTES = 64 << 20  # of a sample that is cut from a map
PROBES = 4  # samples of a chunk that tell whether it is in memory
DEFAULT_MEMORY_BYTES = 1 << 30  # of loads, a rank


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a reader may hold and have under way.

    Attributes:
        memory_bytes: Of loads that are kept or under way.
        load_bytes: About how long a load is.
        depth: Loads and chunks that are worked on ahead; 0 reads when a chunk is asked for.
        threads: That do so.
        part_samples: Samples that are cut at once, at most: few enough to stay in the processor's caches.
        planned_samples: Whose order is worked out at once: 0.1 us each, 0.3 in runs of a tenth.
        views: Give payloads that are in a map as views of it, not as bytes.
    """

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    load_bytes: int = CHUNK_BYTES
    depth: int = 0
    threads: int = 16
    part_samples: int = 2048
    planned_samples: int = 8192
    views: bool = False


def read_limits(memory_bytes: int | str) -> ReadLimits:
    """Return limits as callers write them: sizes also like "512MiB".

    Raises:
        OptionError: This is no size.
    """
    return ReadLimits(memory_bytes=as_integer("memory_bytes", parse_bytes(memory_bytes), minimum=1))


class _Budget:
    """Bytes that may be held. Safe in threads."""

    def __init__(self, num_bytes: int) -> None:
        self._left = num_bytes
        self._holders = 0
        self._lock = threading.Lock()

    def take(self, num_bytes: int) -> bool:
        """Take bytes if they are left, or if nobody holds any."""
        with self._lock:
            if num_bytes > self._left and self._holders:
                return False
            self._left -= num_bytes
            self._holders += 1
            return True

    def give(self, num_bytes: int) -> None:
        """Give back what was taken."""
        with self._lock:
            self._left += num_bytes
            self._holders -= 1


@dataclass(frozen=True, slots=True, eq=False)
class _Hint:
    """A block that a local store should fetch meanwhile."""

    load: Load


@dataclass(frozen=True, slots=True, eq=False)
class _Indexes:
    """Blocks whose shards' indexes will be wanted."""

    positions: Integers


_Item = Load | Chunk | _Hint | _Indexes
_Content = BlockBuffer | list[Sample] | Iterable[Sample]


@dataclass(slots=True, eq=False)
class _Kept:
    """What was read of a load; None if it was not, because it did not fit."""

    content: _Content | None
    num_bytes: int = 0
    holds: bool = False


class Reader:
    """One pass over chunks. Not thread-safe; its threads end with the iterator of `parts`."""

    def __init__(self, source: Source, planner: Planner, limits: ReadLimits, *, neighbours: bool) -> None:
        """Read samples; `neighbours` says that the samples of a chunk mostly lie behind one another."""
        self._source, self._shards, self._fields = source, source.shards, source.fields
        self._planner, self._limits, self._neighbours = planner, limits, neighbours
        self._max_bytes = MAX_LOAD_BLOCKS * limits.load_bytes
        self._budget = _Budget(limits.memory_bytes)
        self._kept: dict[Name, _Kept] = {}
        self._planned: dict[Name, Load] = {}  # hinted, not read yet
        self._table: BlockTable | None = None
        keep_freed_memory()

    def parts(self, chunks: Iterable[Chunk]) -> Parts:
        """Yield the samples of chunks, in parts that were read or are cut together."""
        limits = self._limits
        items = self._schedule(chunks)
        with closing(
            ordered_map(items, self._do, depth=limits.depth, threads=limits.threads, grow=True, purpose="stream")
        ) as done:
            for item, kept in done:
                if isinstance(item, Chunk):
                    self._drop_before(item.begin)
                    yield from self._samples(item)
                    for name in item.names:
                        if name[0] < 0:
                            self._drop(name)
                elif kept is not None and isinstance(item, Load):
                    self._keep(item.name, kept)
                del item, kept  # before the next one is waited for

    # What is done when

    def _schedule(self, chunks: Iterable[Chunk]) -> Iterator[_Item]:
        """Yield the loads of each chunk, the chunk, and the blocks that should be under way when it is there."""
        started: set[Name] = set()
        hinted: set[Name] = set()
        reached: dict[int, tuple[int, int]] = {}  # by partition, (epoch, end) of the blocks that were started
        for number, chunk in enumerate(chunks):
            started = {name for name in started if name[1:] >= chunk.begin.get(name[0], (0, 0))}
            ahead = list(_not_reached(chunk, reached)) if number else []  # the first samples should not wait for it
            if not self._limits.depth:
                hinted = {name for name in hinted if name[1] >= chunk.begin.get(name[0], (0, 0))[0]}
                yield from self._hints(name for name in dict.fromkeys(ahead) if name not in hinted)
                hinted.update(ahead if chunk.shares_blocks else ())  # the others are wanted by one partition alone
            for name in chunk.names:
                if name not in started:
                    if name[0] >= 0:
                        started.add(name)
                    planned = self._planned.pop(name, None)
                    yield self._planner.load(name) if planned is None else planned
            yield chunk
            if not self._limits.depth:
                continue
            if not number and chunk.ahead:
                yield self._first_indexes(chunk)
            for name in ahead:
                if name not in started:
                    started.add(name)
                    yield self._planner.load(name)

    def _hints(self, names: Iterable[Name]) -> Iterator[_Hint]:
        """Yield hints; what was worked out for them serves the reading, too."""
        self._planned = {name: load for name, load in self._planned.items() if name not in self._kept}
        for name in names:
            load = self._planned[name] = self._planner.load(name)
            yield _Hint(load)

    def _first_indexes(self, chunk: Chunk) -> _Indexes:
        names = [
            chunk.block_name(partition, epoch, block) for partition, epoch, *run in chunk.ahead for block in range(*run)
        ]
        return _Indexes(np.array([self._planner.load(name).positions[0] for name in names], np.int64))

    def _do(self, item: _Item) -> tuple[_Item, _Kept | None]:
        """Do what is scheduled; called in threads where the reader reads ahead."""
        if isinstance(item, Load):
            return item, self._read(item)
        if isinstance(item, _Hint):
            prefetch(self._shards, item.load.positions, self._fields)
        elif isinstance(item, _Indexes):
            self._shards.load(number for number, _, _ in self._shards.shard_list.runs(np.sort(item.positions)))
        return item, None

    # Loads

    def _read(self, load: Load) -> _Kept:
        """Read a load; [] for what must be read sample by sample, for the sake of an error or of the memory."""
        try:
            return self._packed(load) or self._listed(load)
        except (FormatError, ShardNotFoundError):
            return _Kept([])

    def _packed(self, load: Load) -> _Kept | None:
        """Read a load into one buffer, where its samples lie behind one another in one shard."""
        positions, shards, is_local = load.positions, self._shards, not self._source.is_remote
        shard = shards.at(int(positions[0]))
        may_map = is_local and not shards.verify
        if not load.is_block:
            is_large = is_local and shard.has_large_samples()
            alone = may_map and self._fields is None and (is_large or not self._neighbours)
            if alone and self._are_cached(positions[:: 1 + len(positions) // PROBES]):
                return _Kept(_cut_alone(shards, positions.tolist(), keep_maps=is_large, views=self._limits.views))
            if is_large or not self._neighbours:
                return None
        if int(positions[-1]) >= shard.first + shard.info.num_samples or not (positions[1:] > positions[:-1]).all():
            return None
        return self._block(plan_read(shard, positions - shard.first, self._fields), mapped=may_map and load.is_block)

    def _block(self, plan: ReadPlan, *, mapped: bool) -> _Kept | None:
        if not len(plan.starts):
            return None
        start, end = span(plan)
        if not self._budget.take(end - start):
            return _Kept(None)
        block = None
        try:
            block = pack_block(self._shards, plan, max_bytes=self._max_bytes, mapped=mapped, views=self._limits.views)
        finally:
            if block is None or not block.num_bytes:
                self._budget.give(end - start)
        return None if block is None else _Kept(block, end - start, holds=block.num_bytes > 0)

    def _are_cached(self, positions: Integers) -> bool:
        """Return whether samples are in memory, so that they are best cut from maps when they are asked for.

        What a dropped sample leaves is memory that the processor's caches still hold: the next one
        is copied there at three times the speed of a chunk at a time (110 KB samples, 2-core VM).
        """
        for position in positions.tolist():
            shard = self._shards.at(position)
            if not shard.store.is_cached(shard.path, shard.extent(position)[0]):
                return False
        return True

    def _listed(self, load: Load) -> _Kept:
        """Read a load of any samples, field by field."""
        most = self._max_bytes if self._source.is_remote or load.is_block else MAX_PART_BYTES
        num_bytes = min(most, len(load.positions) * self._source.mean_bytes)
        if not self._budget.take(num_bytes):
            return _Kept(None)
        samples = None
        try:
            samples = read_small(
                self._shards, load.positions, self._fields, max_bytes=most, streaming=self._neighbours or load.is_block
            )
        finally:
            if samples is None:
                self._budget.give(num_bytes)
        return _Kept([]) if samples is None else _Kept(samples, num_bytes, holds=True)

    def _keep(self, name: Name, kept: _Kept) -> None:
        self._kept[name] = kept
        content = kept.content
        if isinstance(content, BlockBuffer) and name[0] >= 0:
            if self._table is None:
                self._table = BlockTable(content.fields)
            if content.fields == self._table.fields:
                self._table.add(name, content.bounds)

    def _drop(self, name: Name) -> None:
        kept = self._kept.pop(name, None)
        if kept is not None and kept.holds:
            self._budget.give(kept.num_bytes)
        if self._table is not None:
            self._table.drop(name)

    def _drop_before(self, begin: dict[int, tuple[int, int]]) -> None:
        """Let go of blocks that no later chunk wants."""
        for name in [name for name in self._kept if name[1:] < begin.get(name[0], (0, 0))]:
            self._drop(name)

    # Samples

    def _samples(self, chunk: Chunk) -> Iterator[Iterable[Sample]]:
        contents = [self._content(name) for name in chunk.names]
        size = self._limits.part_samples
        if len(contents) == 1 and chunk.names[0][0] < 0:
            content, positions = contents[0], chunk.positions
            if isinstance(content, BlockBuffer):
                for at in range(0, len(positions), size):
                    yield content.slice(chunk.row[at : at + size], positions[at : at + size])
            elif content:
                yield content
                if not isinstance(content, list):
                    self._shards.count_mapped(MAX_PART_BYTES)
            else:
                yield from self._alone(positions)
            return
        if not self._is_in_table(chunk, contents):
            yield self._one_by_one(chunk, contents)
            return
        assert self._table is not None
        blocks = [content for content in contents if isinstance(content, BlockBuffer)]
        rows = self._table.rows(chunk.names, chunk.owner, chunk.row)
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            yield self._table.slice(blocks, chunk.owner[part], rows[part], chunk.positions[part])
        if not self._source.is_remote:
            self._shards.count_mapped(MAX_PART_BYTES * -(-len(rows) // size))

    def _content(self, name: Name) -> _Content:
        """Return what was read of a load, which may only now fit; [] if it still does not."""
        kept = self._kept.get(name)
        if kept is None or kept.content is None:
            kept = self._read(self._planner.load(name)) if name[0] >= 0 else _Kept([])
            self._keep(name, kept)
        return [] if kept.content is None else kept.content

    def _is_in_table(self, chunk: Chunk, contents: list[_Content]) -> bool:
        table = self._table
        if table is None or not contents or not all(name in table for name in chunk.names):
            return False
        counts = np.array([len(content) for content in contents if isinstance(content, BlockBuffer)])
        return bool(((chunk.owner >= 0) & (chunk.row >= 0) & (chunk.row < counts[chunk.owner])).all())

    def _alone(self, positions: Integers) -> Iterator[Iterable[Sample]]:
        """Yield samples that no load holds."""
        return read_parts(self._shards, positions, self._fields, max_bytes=MAX_PART_BYTES, streaming=self._neighbours)

    def _one_by_one(self, chunk: Chunk, contents: list[_Content]) -> Iterator[Sample]:
        """Yield a chunk's samples, those that no load holds read by themselves; raise at the one that cannot be."""
        held = [content if isinstance(content, (BlockBuffer, list)) else [] for content in contents]
        lengths = [len(content) for content in held]
        samples = list(zip(chunk.owner.tolist(), chunk.row.tolist(), chunk.positions.tolist(), strict=True))
        others = [position for owner, row, position in samples if owner < 0 or not 0 <= row < lengths[owner]]
        rest = chain.from_iterable(self._alone(np.array(others, np.int64)) if others else ())
        for owner, row, position in samples:
            if owner < 0 or not 0 <= row < lengths[owner]:
                yield next(rest)
                continue
            content = held[owner]
            if isinstance(content, BlockBuffer):
                yield from content.slice(np.array([row]), np.array([position]))
            else:
                yield content[row]


def _cut_alone(shards: ShardCache, positions: list[int], *, keep_maps: bool, views: bool) -> Iterator[Sample]:
    """Yield samples, each cut from the map of its shard when it is asked for, or read."""
    for position in positions:
        if keep_maps:
            shard = shards.at(position)
            if shard.extent(position)[1] > MAX_CUT_BYTES:  # its pages would count as memory as well
                yield shard.read(position, verify=False)
                continue
            shards.map(shard)
        table = shards.by_position
        mapped = table.mapped[bisect_right(table.bounds, position)]
        yield shards.read(position) if mapped is None else mapped.cut_views(position) if views else mapped.cut(position)


def _not_reached(chunk: Chunk, reached: dict[int, tuple[int, int]]) -> Iterator[Name]:
    """Yield the blocks that a chunk wants under way and that none before it did; note how far that is."""
    for partition, epoch, begin, end in chunk.ahead:
        known_epoch, known = reached.get(partition, (epoch, 0))
        first = max(begin, known) if known_epoch == epoch else begin
        if first < end:
            reached[partition] = epoch, end
            yield from (chunk.block_name(partition, epoch, block) for block in range(first, end))

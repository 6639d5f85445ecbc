"""`Reader`: the samples of chunks, in their order; each load is read once and kept while chunks need it.

    chunks --`TaskOrder`--> tasks --`ordered_map`, `LoadReader`--> loads --`BlockTable`--> samples

Streams and mixes have this one reader. The store decides how far it reads ahead: of a remote store, threads read
many loads ahead; of a local one, each chunk is read when it is asked for, after hints about the next blocks.

Memory: loads that are kept or in progress stay within a budget of bytes. A load that does not fit is tried again
when a chunk needs it; if it still does not fit, the samples of the chunk are read one by one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain
from typing import cast

import numpy as np

from shardpack.read.layered_plan import found_in, wanted_layers
from shardpack.read.sample import Sample
from shardpack.runtime.arrays import Integers
from shardpack.runtime.process import keep_freed_memory
from shardpack.runtime.threads import ordered_map
from shardpack.stream.block_buffer import Block, BlockTable, slice_block
from shardpack.stream.hints import prefetch
from shardpack.stream.limits import MAX_PART_BYTES, ReaderSetup
from shardpack.stream.load import Buffered, Content, DoesNotFit, Lazy, LoadReader, ReadAlone, SamplesInMemory
from shardpack.stream.plan import Chunk, FirstBlock, Load, LoadId, Planner
from shardpack.stream.schedule import Hint, OpenShards, ReaderTask, TaskOrder
from shardpack.stream.stream_input import StreamInput

SampleParts = Generator[Iterable[Sample], None, None]  # samples as a reader hands them out; must be closed


class Taken:
    """The number of samples that an iterator has handed out, including those before its start.

    Each iterator has its own, so that an older one still in use does not affect a newer one. The object that makes
    iterators keeps that of the newest one, and makes states from it.
    """

    __slots__ = ("taken",)

    def __init__(self, taken: int) -> None:
        self.taken = taken


class Reader:
    """One pass over chunks. Not thread-safe; its threads end with the iterator of `parts`.

    Args:
        stream_input: The samples.
        planner: Made the chunks.
        setup: What to hold, how far to read ahead, and what chunks are like.
    """

    def __init__(self, stream_input: StreamInput, planner: Planner, setup: ReaderSetup) -> None:
        self._input, self._cache, self._planner, self._setup = stream_input, stream_input.cache, planner, setup
        self._loads = LoadReader(stream_input, setup)
        self._kept: dict[LoadId, Content] = {}
        self._table: BlockTable | None = None  # of the kept blocks
        keep_freed_memory()

    def parts(self, chunks: Iterable[Chunk]) -> SampleParts:
        """Yield the samples of chunks, in parts that are read or cut together."""
        setup = self._setup
        tasks = TaskOrder(self._planner, reads_ahead=setup.depth > 0).tasks(chunks)
        with closing(
            ordered_map(tasks, self._do, depth=setup.depth, threads=setup.threads, grow=True, purpose="stream")
        ) as done:
            for task, content in done:
                if isinstance(task, Chunk):
                    self._drop_before(task.begin)
                    parts = self._samples(task)
                    yield from parts if task.repeats is None else _with_repeats(parts, task.repeats)
                    for load_id in task.load_ids:
                        if not load_id.is_block:
                            self._drop(load_id)
                elif content is not None and isinstance(task, Load):
                    self._keep(task.id, content)
                del task, content  # released before the next one is waited for

    def _do(self, task: ReaderTask) -> tuple[ReaderTask, Content | None]:
        """Do a task; called in threads where the reader reads ahead."""
        if isinstance(task, Load):
            return task, self._loads.read(task)
        if isinstance(task, Hint):
            prefetch(self._cache, task.positions, self._input.wanted_fields)
        elif isinstance(task, OpenShards):
            self._open(task.positions)
        return task, None

    def _open(self, positions: Integers) -> None:
        """Open the shards that hold some samples, of base and layers."""
        self._cache.load(number for number, _, _ in self._cache.shard_list.runs(np.sort(positions)))
        for layer in wanted_layers(self._cache, self._input.wanted_fields):
            own, _ = found_in(layer, positions)
            layer.cache.load(number for number, _, _ in layer.cache.shard_list.runs(own))

    # Kept loads

    def _keep(self, load_id: LoadId, content: Content) -> None:
        self._kept[load_id] = content
        if isinstance(content, Buffered) and load_id.is_block:
            if self._table is None:
                self._table = BlockTable(content.block.fields, content.block.bounds.shape[1])
            if content.block.fields == self._table.fields:
                self._table.add(load_id, content.block.bounds)

    def _drop(self, load_id: LoadId) -> None:
        content = self._kept.pop(load_id, None)
        if content is not None:
            self._loads.release(content)
        if self._table is not None:
            self._table.drop(load_id)

    def _drop_before(self, begin: Mapping[int, FirstBlock]) -> None:
        """Drop the blocks that no later chunk needs."""
        for load_id in [load_id for load_id in self._kept if load_id.is_before(begin)]:
            self._drop(load_id)

    def _content(self, load_id: LoadId) -> Content:
        """Return what was read of a load; one that did not fit is tried once more."""
        content = self._kept.get(load_id, DoesNotFit())
        if isinstance(content, DoesNotFit):
            content = self._loads.read(self._planner.load(load_id)) if load_id.is_block else ReadAlone()
            self._keep(load_id, content)
        return content

    # Samples

    def _samples(self, chunk: Chunk) -> Iterator[Iterable[Sample]]:
        contents = [self._content(load_id) for load_id in chunk.load_ids]
        if len(contents) == 1 and not chunk.load_ids[0].is_block:
            yield from self._samples_of_run(chunk, contents[0])
        elif self._is_in_table(chunk, contents):
            yield from self._samples_of_blocks(chunk, [cast("Buffered", content).block for content in contents])
        else:
            yield self._one_by_one(chunk, contents)

    def _samples_of_run(self, chunk: Chunk, content: Content) -> Iterator[Iterable[Sample]]:
        """Yield the samples of a chunk that is one load."""
        positions, size = chunk.positions, self._setup.part_samples
        if isinstance(content, Buffered):
            for at in range(0, len(positions), size):
                yield slice_block(content.block, chunk.row[at : at + size], positions[at : at + size])
            if not content.block.num_bytes:
                self._input.count_mapped(MAX_PART_BYTES)
        elif isinstance(content, Lazy):
            yield content.samples
            self._input.count_mapped(MAX_PART_BYTES)
        elif isinstance(content, SamplesInMemory):
            yield content.samples
        else:
            yield from self._loads.read_alone(positions)

    def _samples_of_blocks(self, chunk: Chunk, blocks: list[Block]) -> Iterator[Iterable[Sample]]:
        """Yield the samples of a chunk whose blocks are all in the table."""
        assert self._table is not None
        rows, size = self._table.rows(chunk.load_ids, chunk.owner, chunk.row), self._setup.part_samples
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            yield self._table.slice(blocks, chunk.owner[part], rows[part], chunk.positions[part])
        if not self._input.is_remote:
            self._input.count_mapped(MAX_PART_BYTES * -(-len(rows) // size))

    def _is_in_table(self, chunk: Chunk, contents: list[Content]) -> bool:
        """Return whether the table holds every sample of a chunk."""
        table = self._table
        if table is None or not contents or not all(load_id in table for load_id in chunk.load_ids):
            return False
        counts = np.array([_num_rows(content) for content in contents])  # (blocks)
        return bool(((chunk.owner >= 0) & (chunk.row >= 0) & (chunk.row < counts[chunk.owner])).all())

    def _one_by_one(self, chunk: Chunk, contents: list[Content]) -> Iterator[Sample]:
        """Yield the samples of a chunk, reading alone what no load holds; raise at the first that cannot be read."""
        counts = [_num_rows(content) for content in contents]
        samples = list(zip(chunk.owner.tolist(), chunk.row.tolist(), chunk.positions.tolist(), strict=True))
        missing = [at for at, (owner, row, _) in enumerate(samples) if owner < 0 or not 0 <= row < counts[owner]]
        missing_samples = chain.from_iterable(self._loads.read_alone(chunk.positions[missing]) if missing else ())
        is_missing = set(missing)
        for at, (owner, row, position) in enumerate(samples):
            content = None if at in is_missing else contents[owner]
            if isinstance(content, Buffered):
                yield from slice_block(content.block, np.array([row]), np.array([position]))
            elif isinstance(content, SamplesInMemory):
                yield content.samples[row]
            else:
                yield next(missing_samples)


def _with_repeats(parts: Iterator[Iterable[Sample]], repeats: Integers) -> Iterator[Iterable[Sample]]:
    """Yield the samples of a chunk, each with its `repeat`."""
    numbers = iter(repeats.tolist())
    for part in parts:
        yield map(_repeated, part, numbers)


def _repeated(sample: Sample, repeat: int) -> Sample:
    sample.repeat = repeat
    return sample


def _num_rows(content: Content) -> int:
    """Return how many samples a load holds by row."""
    if isinstance(content, Buffered):
        return len(content.block)
    return len(content.samples) if isinstance(content, SamplesInMemory) else 0

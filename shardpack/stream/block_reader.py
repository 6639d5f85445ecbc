"""Samples of an epoch shuffled by blocks: each block is read as one, and its samples are handed out one by one.

    places --epoch order--> (block, row) --chunks--> blocks wanted --read--> buffers --cut out--> a chunk's samples

Near files are read, or mapped, when a chunk wants them. Far away, threads read what the next chunks
want, and the next window at the pace at which the current one is used up. Memory, for each partition
that this rank owns: far away two windows, near a window of what is not mapped from the page cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np

from shardpack.errors import FormatError, ShardNotFoundError
from shardpack.read.read_many import read_parts, read_small
from shardpack.read.read_plan import plan_read
from shardpack.read.sample import Sample
from shardpack.stream.block_buffer import PackedBlock, PackedBlocks, read_packed
from shardpack.stream.chunk_reader import MAX_CHUNK_BYTES
from shardpack.stream.prefetch import Integers, Parts, ReadAhead, Source, blocks_wanted

Name = tuple[int, int]  # of a block: partition, and number in the epoch's order; a cut may share a block out to two
Content = PackedBlock | list[Sample]

AHEAD_CHUNKS = 8  # of about 4 MiB: planned before they are asked for, so that their blocks are under way
THREADS = 16  # that read blocks from far away
MAX_OVERSIZE = 4  # a block whose payloads are so many times the usual is read sample by sample


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """Samples that are handed out together.

    Attributes:
        positions: (n) of the samples.
        owner: (n) which of `blocks` holds each.
        row: (n) where in it; outside of it for what another partition has (padding).
        blocks: In the order of their first use.
        begin: By partition, the first block that is still wanted.
        end: By partition, up to which block reading should be under way.
    """

    positions: Integers
    owner: Integers
    row: Integers
    blocks: list[Name]
    begin: dict[int, int]
    end: dict[int, int]


class BlockReader:
    """One pass over (a part of) an epoch. Not thread-safe; its threads end with the iterator of `parts`."""

    def __init__(self, source: Source, *, block_bytes: int) -> None:
        self._source, self._shards, self._order = source, source.shards, source.order
        self._max_bytes = MAX_OVERSIZE * block_bytes
        self._blocks: dict[Name, Content | Future[Content]] = {}
        self._packed: PackedBlocks | None = None
        self._until: dict[int, int] = {}  # by partition, up to which block reading is under way

    def parts(self, places: Iterable[tuple[Integers, Integers]], chunk_samples: int) -> Parts:
        """Yield the samples at some (partitions, offsets), in parts of at most `chunk_samples`."""
        if self._shards.store.remote:
            return self._parts_far(iter(places), chunk_samples)
        return self._parts_near(places, chunk_samples)

    def _parts_near(self, places: Iterable[tuple[Integers, Integers]], size: int) -> Parts:
        ahead = ReadAhead(self._source)
        for number, (partition, offset) in enumerate(places):
            chunk = self._planned(partition, offset)
            if number:  # the first samples should not wait for what comes later
                ahead.announce_blocks(chunk.begin, chunk.end)
            yield from self._take(chunk, size)

    def _parts_far(self, places: Iterator[tuple[Integers, Integers]], size: int) -> Parts:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="shardpack-blocks")
        try:
            yield from self._parts_ahead(places, pool, size)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # what is under way ends by itself

    def _parts_ahead(self, places: Iterator[tuple[Integers, Integers]], pool: ThreadPoolExecutor, size: int) -> Parts:
        waiting: deque[_Chunk] = deque()
        depth = 0  # grows, for the first samples' sake
        while True:
            while len(waiting) <= depth and (place := next(places, None)) is not None:
                chunk = self._planned(*place)
                self._start(chunk, pool, whole_windows=depth > 0)
                waiting.append(chunk)
            if not waiting:
                return
            yield from self._take(waiting.popleft(), size)
            depth = min(depth + 1, AHEAD_CHUNKS)

    def _planned(self, partition: Integers, offset: Integers) -> _Chunk:
        item, number, first_item = self._order.items_in_blocks(partition, offset)
        begin, end = blocks_wanted(self._order, self._source.deal, partition, offset)
        key = partition * self._order.num_blocks + number
        _, first_use, block = np.unique(key, return_index=True, return_inverse=True)
        rank = np.empty_like(first_use)
        rank[np.argsort(first_use)] = np.arange(len(first_use))
        used = np.sort(first_use)
        return _Chunk(
            self._source.sequence.at(item),
            rank[block],
            item - first_item,
            list(zip(partition[used].tolist(), number[used].tolist(), strict=True)),
            begin,
            end,
        )

    def _start(self, chunk: _Chunk, pool: ThreadPoolExecutor, *, whole_windows: bool) -> None:
        """Let the threads read what a chunk wants, and what will be wanted soon after."""
        names = list(chunk.blocks)
        if not whole_windows:  # the indexes of the first windows' shards are small: have them when their turn comes
            pool.submit(self._open_shards, chunk)
        else:
            for partition, end in chunk.end.items():
                begin = max(self._until.get(partition, 0), chunk.begin[partition])
                names.extend((partition, number) for number in range(begin, end))
                self._until[partition] = max(begin, end)
        for name in names:
            if name not in self._blocks:
                self._blocks[name] = pool.submit(self._load, name)

    def _open_shards(self, chunk: _Chunk) -> None:
        first = [
            run[0]
            for partition, end in chunk.end.items()
            for run in self._order.block_items(partition, chunk.begin[partition], end)
        ]
        positions = np.sort(self._source.sequence.at(np.array(first, np.int64)))
        under_way = {number for number, _, _ in self._shards.runs(np.sort(chunk.positions))}
        self._shards.load(number for number, _, _ in self._shards.runs(positions) if number not in under_way)

    def _take(self, chunk: _Chunk, size: int) -> Parts:
        """Yield the samples of a chunk, `size` at a time: few enough to stay in the processor's caches."""
        for name in [name for name in self._blocks if name[1] < chunk.begin.get(name[0], 0)]:
            del self._blocks[name]
            if self._packed is not None:
                self._packed.drop(name)
        contents = [self._content(name) for name in chunk.blocks]
        packed = self._packed
        if packed is None or not all(name in packed for name in chunk.blocks) or not self._is_inside(chunk, contents):
            yield self._one_by_one(chunk, contents)
            return
        blocks = [content for content in contents if isinstance(content, PackedBlock)]
        rows = packed.rows(chunk.blocks, chunk.owner, chunk.row)
        for at in range(0, len(rows), size):
            part = slice(at, at + size)
            held = [blocks[owner] for owner in chunk.owner[part].tolist()]
            yield packed.cut(held, rows[part], chunk.positions[part])
        if not self._shards.store.remote:
            self._shards.count_mapped(MAX_CHUNK_BYTES * -(-len(rows) // size))

    def _is_inside(self, chunk: _Chunk, contents: list[Content]) -> bool:
        counts = np.array([len(content) for content in contents])
        return bool(((chunk.row >= 0) & (chunk.row < counts[chunk.owner])).all())

    def _one_by_one(self, chunk: _Chunk, contents: list[Content]) -> Iterator[Sample]:
        """Yield a chunk's samples, those that no block holds read by themselves; raise at the one that cannot be."""
        held = list(zip(chunk.owner.tolist(), chunk.row.tolist(), chunk.positions.tolist(), strict=True))
        others = [position for owner, row, position in held if not 0 <= row < len(contents[owner])]
        parts = read_parts(
            self._shards, np.array(others, np.int64), self._source.fields, max_bytes=MAX_CHUNK_BYTES, streaming=False
        )
        rest = chain.from_iterable(parts)
        for owner, row, position in held:
            content = contents[owner]
            if not 0 <= row < len(content):
                yield next(rest)
            elif isinstance(content, PackedBlock):
                yield content.sample(row, position)
            else:
                yield content[row]

    def _content(self, name: Name) -> Content:
        """Return a block, read now or by a thread."""
        content = self._blocks.get(name)
        if isinstance(content, (PackedBlock, list)):
            return content
        content = self._blocks[name] = self._load(name) if content is None else content.result()
        if isinstance(content, PackedBlock):
            if self._packed is None:
                self._packed = PackedBlocks(content.fields)
            if content.fields == self._packed.fields:
                self._packed.add(name, content.bounds)
        return content

    def _load(self, name: Name) -> Content:
        """Read a block; [] for what a chunk must read sample by sample, for the sake of an error or of the memory."""
        partition, number = name
        for first, count in self._order.block_items(partition, number, number + 1):
            positions = self._source.sequence.at(np.arange(first, first + count))
            try:
                if (positions[1:] > positions[:-1]).all():
                    shard = self._shards.at(int(positions[0]))
                    block = read_packed(
                        self._shards,
                        plan_read(shard, positions - shard.first, self._source.fields),
                        max_bytes=self._max_bytes,
                    )
                    if block is not None:
                        return block
                return (
                    read_small(self._shards, positions, self._source.fields, max_bytes=self._max_bytes, streaming=True)
                    or []
                )
            except (FormatError, ShardNotFoundError):
                break
        return []

"""Samples in a buffer, and how samples are cut out of many buffers at once.

    buffer   bytes or a map, and bounds (rows, 2 * fields): where each payload begins and ends in it
    table    the bounds of all kept blocks, one below the other: a chunk of samples from
             sixty blocks takes one look-up instead of sixty

A sample is cut when it is handed out: objects made earlier would have left the processor's caches by
then (2.4 us per sample instead of 1.0, 2 KB samples, 2-core VM).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from shardpack.format.checksum import crc32c
from shardpack.read.read_plan import ReadPlan
from shardpack.read.sample import KeySource, Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import cut_samples, map_view
from shardpack.runtime.arrays import Integers, each_of
from shardpack.storage.buffer_pool import view_of

SHORT_BYTES = 1 << 20  # the checksum of a shorter payload takes less than 0.1 ms


@dataclass(frozen=True, slots=True, eq=False)
class BlockBuffer:
    """Samples of one shard in one buffer.

    Attributes:
        buffer: Bytes, a pooled buffer, or a map of the whole shard; its slices are bytes.
        bounds: (rows, 2 * fields) begin and end of each payload in `buffer`.
        fields: Names of the fields, in the order of the bounds.
        num_bytes: Memory of the buffer; 0 for a map.
        keys: The keys of the shard.
    """

    buffer: Any
    bounds: Integers
    fields: tuple[str, ...]
    num_bytes: int
    keys: KeySource

    def __len__(self) -> int:
        return len(self.bounds)

    @staticmethod
    def slice_many(
        blocks: Sequence[BlockBuffer], owner: Integers, bounds: Integers, positions: Integers
    ) -> Iterator[Sample]:
        return cut_samples(
            blocks[0].fields,
            each_of([block.buffer for block in blocks], owner),
            bounds.T.tolist(),
            positions.tolist(),
            each_of([block.keys for block in blocks], owner),
        )


class Block(Protocol):
    """Samples of one shard in memory: a `BlockBuffer`, or a block of several buffers."""

    @property
    def bounds(self) -> Integers: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def num_bytes(self) -> int: ...
    def __len__(self) -> int: ...

    @staticmethod
    def slice_many(blocks: Sequence[Any], owner: Integers, bounds: Integers, positions: Integers) -> Iterator[Sample]:
        """Return samples of blocks of this class that have the same fields, each cut when it is asked for.

        Args:
            blocks: The blocks that hold the samples.
            owner: (n) which block holds each sample.
            bounds: (n, columns) bounds of each sample.
            positions: (n) position of each sample in the dataset.
        """
        ...


def slice_block(block: Block, rows: Integers, positions: Integers) -> Iterator[Sample]:
    """Return samples in some rows of one block, each cut when it is asked for; `BlockTable` does so for several."""
    return block.slice_many([block], np.zeros_like(rows), block.bounds[rows], positions)


class BlockTable:
    """The bounds of blocks that have the same fields. Not thread-safe."""

    def __init__(self, fields: tuple[str, ...], columns: int | None = None) -> None:
        """Create an empty table, for blocks whose bounds have so many columns: by default, two a field."""
        self.fields = fields
        self._table = np.empty((1024, 2 * len(fields) if columns is None else columns), np.int64)
        self._used = 0
        self._rows: dict[Hashable, tuple[int, int]] = {}  # by block: first row, number of rows

    def add(self, name: Hashable, bounds: Integers) -> None:
        """Add a block under a new name."""
        if self._used + len(bounds) > len(self._table):
            self._compact(len(bounds))
        self._table[self._used : self._used + len(bounds)] = bounds
        self._rows[name] = self._used, len(bounds)
        self._used += len(bounds)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._rows

    def drop(self, name: Hashable) -> None:
        """Remove a block; its rows are reused later."""
        self._rows.pop(name, None)

    def _compact(self, more: int) -> None:
        """Move the rows in use to a new table, with space for as many again and `more`."""
        left = sum(count for _, count in self._rows.values())
        table = np.empty((2 * (left + more), self._table.shape[1]), np.int64)
        used = 0
        for name, (first, count) in self._rows.items():
            table[used : used + count] = self._table[first : first + count]
            self._rows[name] = used, count
            used += count
        self._table, self._used = table, used

    def rows(self, names: Sequence[Hashable], owner: Integers, row: Integers) -> Integers:
        """Return (n): the table row of each sample, given (n) which of `names` holds it and (n) its row there."""
        return np.array([self._rows[name][0] for name in names], np.int64)[owner] + row

    def slice(self, blocks: Sequence[Block], owner: Integers, rows: Integers, positions: Integers) -> Iterator[Sample]:
        """Return samples, each cut when it is asked for.

        Args:
            blocks: The blocks that hold the samples.
            owner: (n) which block holds each sample.
            rows: (n) row of each sample in the table, valid until the next `add`.
            positions: (n) position of each sample in the dataset.
        """
        return blocks[0].slice_many(blocks, owner, self._table[rows], positions)


def pack_block(
    cache: ShardCache, plan: ReadPlan, *, max_bytes: int, mapped: bool, views: bool = False
) -> BlockBuffer | None:
    """Return samples in one buffer, or None if another way of reading them is better.

    Costs one probe if the shard is mapped and in memory, else one request for the whole block.

    Args:
        cache: The open shards of the dataset.
        plan: The samples, all of one shard.
        max_bytes: Upper limit on the memory of the buffer.
        mapped: Whether to use a map, if the store has maps and the samples are in memory.
        views: Whether payloads in a map are views of it.

    Raises:
        CorruptShardError: A payload does not match its checksum in the index.
    """
    shard, store = plan.shard, plan.shard.store
    if not plan.fields or not shard.dense:
        return None
    start, end = span(plan)
    if mapped and end - start <= max_bytes:
        map_ = cache.map(shard).mapped
        if map_ is not None and is_in_memory(plan, start, end):
            return BlockBuffer(map_view(map_) if views else map_, _bounds(plan, 0), plan.fields, 0, shard.keys)
    if len(plan.fields) != shard.width or end - start > max_bytes:
        return None  # the range has unwanted fields, or is longer than a block may be
    if plan.stored_bytes < (end - start) // 2:
        return None  # the range has mostly unwanted samples
    buffer = store.get_pooled_range(shard.path, start=start, length=end - start)
    store.stats.add_used(plan.num_bytes)
    if cache.verify:
        check_payloads(plan, [view_of(buffer)], None, plan.starts - start)
    return BlockBuffer(buffer, _bounds(plan, start), plan.fields, end - start, shard.keys)


def check_payloads(plan: ReadPlan, views: Sequence[memoryview], owner: Integers | None, begins: Integers) -> None:
    """Compare all payloads with their checksums.

    Short payloads keep the interpreter's lock: releasing it among threads that wait for it takes longer than
    the checksum itself (0.2 s of CPU per GB, 110 KB payloads, 2-core VM).

    Args:
        plan: The payloads.
        views: The buffers that hold them.
        owner: (p) which of these holds each payload; None if there is one.
        begins: (p) where each payload begins there.

    Raises:
        CorruptShardError: A payload does not match.
    """
    checksums = plan.shard.index.crc32c
    if checksums is None:
        return
    mode = 0 if int(plan.sizes.max()) <= SHORT_BYTES else -1
    holders = [views[0]] * len(begins) if owner is None else [views[at] for at in owner.tolist()]
    triples = list(zip(holders, begins.tolist(), (begins + plan.sizes).tolist(), strict=True))
    found = np.array([crc32c(view[begin:end], gil_release_mode=mode) for view, begin, end in triples], np.uint32)
    for wrong in np.flatnonzero(found != checksums[plan.member]).tolist():
        view, begin, end = triples[wrong]
        plan.shard.check_payload(int(plan.member[wrong]), view[begin:end])


def span(plan: ReadPlan) -> tuple[int, int]:
    """Return where in its shard the first payload of a plan begins and the last one ends."""
    return int(plan.starts.min()), int((plan.starts + plan.sizes).max())


def is_in_memory(plan: ReadPlan, start: int, end: int) -> bool:
    """Return whether a range of a plan's shard may be cut from a map: a page behind the end would end the process."""
    path, store = plan.shard.path, plan.shard.store
    return store.is_cached(path, start) and store.is_cached(path, end - 1)


def _bounds(plan: ReadPlan, start: int) -> Integers:
    width = len(plan.fields)
    bounds = np.empty((len(plan.rows), 2 * width), np.int64)
    np.subtract(plan.starts.reshape(-1, width), start, out=bounds[:, ::2])
    np.add(bounds[:, ::2], plan.sizes.reshape(-1, width), out=bounds[:, 1::2])
    return bounds

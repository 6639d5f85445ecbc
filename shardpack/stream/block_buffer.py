"""Blocks as they lie in a buffer, and samples cut out of many of them at once.

    block    buffer, bounds (rows, 2 * fields): where each payload begins and ends in it
    table    the bounds of all blocks at hand, one below the other: a chunk of samples from
             thirty blocks takes one look-up, not thirty

A sample is cut out when it is handed out: objects made earlier would have left the processor's
caches by then (2.4 us a sample instead of 1.0, 2 KB samples, 2-core VM).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.read.payload import cut_sample, cut_samples
from shardpack.read.read_plan import ReadPlan
from shardpack.read.sample import KeySource, Sample
from shardpack.read.shard_cache import ShardCache

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBlock:
    """Samples of one shard in one buffer.

    Attributes:
        buffer: Bytes, or a map of the whole shard.
        bounds: (rows, 2 * fields) begin and end of each payload in `buffer`.
        fields: Names, in the order of the bounds.
        keys: Of the shard.
    """

    buffer: Any
    bounds: Integers
    fields: tuple[str, ...]
    keys: KeySource

    def __len__(self) -> int:
        return len(self.bounds)

    def sample(self, row: int, position: int) -> Sample:
        """Return one sample; many at once are cut by `PackedBlocks`."""
        sample = Sample()
        sample.position, sample.stored_key = position, self.keys
        bounds = self.bounds[row].tolist()
        cut_sample(self.buffer, self.fields, bounds[::2], bounds[1::2], sample)
        return sample


def read_packed(shards: ShardCache, plan: ReadPlan, *, max_bytes: int) -> PackedBlock | None:
    """Return samples as a packed block; None where they are better read in other ways.

    Costs nothing but a probe where the shard is mapped and in memory, else one request for all of
    the block.

    Raises:
        CorruptShardError: A payload that is to be verified has not the checksum that the index holds.
    """
    shard, store = plan.shard, plan.shard.store
    if not plan.fields or not shard.dense:
        return None
    start, end = int(plan.starts.min()), int((plan.starts + plan.sizes).max())
    if not store.remote and not shards.verify:
        mapped = shards.map(shard).map
        if mapped is not None and store.is_cached(shard.path, start):
            return PackedBlock(mapped, _bounds(plan, 0), plan.fields, shard.keys)
    if len(plan.fields) != shard.width or end - start > max_bytes:
        return None  # a long range would read unwanted fields, or more than a block should hold
    if plan.num_bytes < (end - start) // 2:
        return None  # and here, unwanted samples
    buffer = store.get_range(shard.path, start=start, length=end - start)
    store.stats.add_used(plan.num_bytes)
    if shards.verify:
        view = memoryview(buffer)
        for member, begin, size in zip(
            plan.member.tolist(), (plan.starts - start).tolist(), plan.sizes.tolist(), strict=True
        ):
            shard.check_payload(member, view[begin : begin + size])
    return PackedBlock(buffer, _bounds(plan, start), plan.fields, shard.keys)


def _bounds(plan: ReadPlan, start: int) -> Integers:
    width = len(plan.fields)
    bounds = np.empty((len(plan.rows), 2 * width), np.int64)
    np.subtract(plan.starts.reshape(-1, width), start, out=bounds[:, ::2])
    np.add(bounds[:, ::2], plan.sizes.reshape(-1, width), out=bounds[:, 1::2])
    return bounds


class PackedBlocks:
    """The bounds of blocks that have the same fields. Not thread-safe."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self._table = np.empty((1024, 2 * len(fields)), np.int64)
        self._used = 0
        self._place: dict[Any, tuple[int, int]] = {}  # of each block: first row, rows

    def add(self, name: Any, bounds: Integers) -> None:
        """Add a block under a name that is not there yet."""
        if self._used + len(bounds) > len(self._table):
            self._compact(len(bounds))
        self._table[self._used : self._used + len(bounds)] = bounds
        self._place[name] = self._used, len(bounds)
        self._used += len(bounds)

    def __contains__(self, name: Any) -> bool:
        return name in self._place

    def drop(self, name: Any) -> None:
        """Forget a block; its rows are reused later."""
        self._place.pop(name, None)

    def _compact(self, more: int) -> None:
        """Move what is left to a table with room for as much again and `more`."""
        left = sum(count for _, count in self._place.values())
        table = np.empty((2 * (left + more), self._table.shape[1]), np.int64)
        used = 0
        for name, (first, count) in self._place.items():
            table[used : used + count] = self._table[first : first + count]
            self._place[name] = used, count
            used += count
        self._table, self._used = table, used

    def rows(self, names: Sequence[Any], owner: Integers, row: Integers) -> Integers:
        """Return (n) rows of the table for samples: `owner` tells which of `names` holds each, `row` where in it."""
        return np.array([self._place[name][0] for name in names], np.int64)[owner] + row

    def cut(self, blocks: Sequence[PackedBlock], rows: Integers, positions: Integers) -> Iterator[Sample]:
        """Return samples, each cut when it is asked for.

        Args:
            blocks: (n) that hold them.
            rows: (n) of the table; valid until the next `add`.
            positions: (n) of the samples in the dataset.
        """
        return cut_samples(
            self.fields,
            [block.buffer for block in blocks],
            self._table[rows].T.tolist(),
            positions.tolist(),
            [block.keys for block in blocks],
        )

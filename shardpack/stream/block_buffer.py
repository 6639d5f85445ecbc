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

from shardpack.read.read_plan import Wanted
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import Shards

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PackedBlock:
    """Samples of one shard in one buffer.

    Attributes:
        buffer: Bytes, or a map of the whole shard.
        bounds: (rows, 2 * fields) begin and end of each payload in `buffer`.
        fields: Names, in the order of the bounds.
    """

    buffer: Any
    bounds: Integers
    fields: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.bounds)

    def sample(self, shards: Shards, row: int, position: int) -> Sample:
        """Return one sample; many at once are cut by `PackedBlocks`."""
        sample = Sample()
        sample.position, sample._key = position, shards
        bounds = self.bounds[row].tolist()
        for field, begin, end in zip(self.fields, bounds[::2], bounds[1::2], strict=True):
            sample[field] = self.buffer[begin:end]
        return sample


def read_packed(what: Wanted, *, verify: bool, max_bytes: int) -> PackedBlock | None:
    """Return samples as a packed block; None where they are better read in other ways.

    Costs nothing but a probe where the shard is mapped and in memory, else one request for all of
    the block.

    Raises:
        CorruptShardError: With `verify`, a payload has not the checksum that the index holds.
    """
    shard, store = what.shard, what.shard.store
    if not what.columns or not shard.dense:
        return None
    fields = tuple(shard.fields[column] for column in what.columns)
    start, end = int(what.starts.min()), int((what.starts + what.sizes).max())
    if not store.remote and not verify:
        shard.keep_map()
        if shard.map is not None and store.is_cached(shard.path, start):
            return PackedBlock(shard.map, _bounds(what, 0), fields)
    if len(what.columns) != shard.width or end - start > max_bytes:
        return None  # a long range would read unwanted fields, or more than a block should hold
    if int(what.sizes.sum()) < (end - start) // 2:
        return None  # and here, unwanted samples
    buffer = store.get_range(shard.path, start=start, length=end - start)
    store.stats.add_used(what.num_bytes)
    block = PackedBlock(buffer, _bounds(what, start), fields)
    if verify:
        view = memoryview(buffer)
        _, members = shard.index.pick(what.rows, what.columns)
        for member, (begin, end_of_it) in zip(members.tolist(), block.bounds.reshape(-1, 2).tolist(), strict=True):
            shard.check_payload(member, view[begin:end_of_it])
    return block


def _bounds(what: Wanted, start: int) -> Integers:
    bounds = np.empty((len(what.starts), 2), np.int64)
    np.subtract(what.starts, start, out=bounds[:, 0])
    np.add(bounds[:, 0], what.sizes, out=bounds[:, 1])
    return bounds.reshape(len(what.rows), -1)


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

    def cut(self, shards: Shards, buffers: Sequence[Any], rows: Integers, positions: Integers) -> Iterator[Sample]:
        """Yield samples.

        Args:
            shards: Tell a sample's key.
            buffers: (n) of the blocks that hold them.
            rows: (n) of the table; valid until the next `add`.
            positions: (n) of the samples in the dataset.
        """
        columns = self._table[rows].T.tolist()
        if len(self.fields) == 2:  # the usual two at once
            one, two = self.fields
            for position, buffer, a, b, c, d in zip(positions.tolist(), buffers, *columns, strict=True):
                sample = Sample()
                sample.position, sample._key = position, shards
                sample[one], sample[two] = buffer[a:b], buffer[c:d]
                yield sample
                del sample  # so that the next one is cut into memory that the processor's caches still hold
            return
        for position, buffer, *bounds in zip(positions.tolist(), buffers, *columns, strict=True):
            sample = Sample()
            sample.position, sample._key = position, shards
            for field, begin, end in zip(self.fields, bounds[::2], bounds[1::2], strict=True):
                sample[field] = buffer[begin:end]
            yield sample
            del sample

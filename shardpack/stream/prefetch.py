"""Read-ahead of a stream: tell the store, block by block, what will be wanted soon."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.order.epoch import EpochOrder
from shardpack.order.partitions import Partitioning
from shardpack.order.view import Sequence
from shardpack.read.read_plan import plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.storage.coalesce import MergeLimits, coalesce

Integers = npt.NDArray[np.int64]
Parts = Generator[Iterable[Sample], None, None]  # samples as a reader hands them out; to be closed

# Linux takes no more of one hint than the read-ahead window of the disk, 128 KiB by default.
HINT_BYTES = 128 << 10
_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=1 << 40)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """What a reader of one epoch stands on.

    Attributes:
        shards, sequence: The samples, and the items that stand for them.
        order: Of the epoch.
        deal: Its partitions.
        fields: Read only these; None for all.
    """

    shards: ShardCache
    sequence: Sequence
    order: EpochOrder
    deal: Partitioning
    fields: tuple[str, ...] | None = None


class ReadAhead:
    """Announce blocks before their samples are read: those of the current window, then the next one's.

    The next window is announced at the pace at which the current one is used up, so reading is
    even. Costs a probe a block, hints only for what is not in memory, and nothing where the order
    is not by blocks.
    """

    def __init__(self, source: Source) -> None:
        self._shards, self._sequence, self._order = source.shards, source.sequence, source.order
        self._deal, self._fields = source.deal, source.fields
        partitions = source.deal.partitions if source.order.windows else 0
        self._announced = np.zeros(partitions, np.int64)  # blocks of each

    def announce(self, partition: Integers, offset: Integers) -> None:
        """Announce what is wanted once these places are reached, and has not been announced yet."""
        if self._order.windows is not None:
            self.announce_blocks(*blocks_wanted(self._order, self._deal, partition, offset))

    def announce_blocks(self, begin: Mapping[int, int], end: Mapping[int, int]) -> None:
        """Announce blocks, from and up to a number in each partition, that have not been announced yet."""
        if self._shards.store.remote:  # whoever reads far away holds what was read ahead
            return
        for p, until in end.items():
            known = int(self._announced[p])
            if until > known:
                for first, count in self._order.block_items(p, max(begin[p], known), until):
                    self._announce_items(first, count)
                self._announced[p] = until

    def _announce_items(self, first: int, count: int) -> None:
        """Announce a run of items, which all lie in one shard, unless the first is in memory."""
        head = self._sequence.at(np.array([first]))
        shard = self._shards.at(int(head[0]))
        starts, _ = _extents(shard, head - shard.first, self._fields)
        if len(starts) and self._shards.store.is_cached(shard.path, int(starts[0])):
            return
        positions = np.sort(self._sequence.at(np.arange(first, first + count)))
        starts, ends = _extents(shard, positions - shard.first, self._fields)
        plan = coalesce(starts, ends - starts, limits=_LIMITS)
        hints = [hint for run in zip(plan.starts.tolist(), plan.lengths.tolist(), strict=True) for hint in _cut(*run)]
        if hints:
            hint_starts, hint_lengths = zip(*hints, strict=True)
            self._shards.store.prefetch(shard.path, starts=hint_starts, lengths=hint_lengths)


def blocks_wanted(
    order: EpochOrder, deal: Partitioning, partition: Integers, offset: Integers
) -> tuple[dict[int, int], dict[int, int]]:
    """Return, by partition, the first block that places want, and up to which reading should be under way.

    The places of each partition come in order, so the first and the last of them tell.
    """
    assert order.windows is not None
    parts, first = np.unique(partition, return_index=True)
    last = len(partition) - 1 - np.unique(partition[::-1], return_index=True)[1]
    at = np.concatenate([first, last])
    begin, end = order.windows.blocks_wanted(partition[at], deal.places(partition[at], offset[at]))
    names = parts.tolist()
    return (
        dict(zip(names, begin[: len(names)].tolist(), strict=True)),
        dict(zip(names, end[len(names) :].tolist(), strict=True)),
    )


def _extents(shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None) -> tuple[Integers, Integers]:
    """Return where each row's payloads begin and end; rows that have none of the fields are left out."""
    plan = plan_read(shard, rows, fields)
    if not len(plan.owner):
        return plan.starts, plan.starts
    heads = np.flatnonzero(np.diff(plan.owner, prepend=-1))
    return np.minimum.reduceat(plan.starts, heads), np.maximum.reduceat(plan.starts + plan.sizes, heads)


def _cut(start: int, length: int) -> Iterator[tuple[int, int]]:
    """Cut a range into hints."""
    for at in range(start, start + length, HINT_BYTES):
        yield at, min(HINT_BYTES, start + length - at)

"""What to read for the samples at some slots, and what they will need soon: pure arithmetic, nothing is read.

    (epoch, partition, offset) --epoch order--> items --view--> positions --> `Chunk`

Shuffled by blocks, a chunk takes samples out of blocks that many chunks share; in every other order a chunk is
read as one load. Either way a `Load` is what one thread reads at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np

from shardpack.order.drawn import DrawnOrder, DrawnOrders
from shardpack.order.epoch import EpochOrder
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.view import SampleView
from shardpack.runtime.arrays import Integers

_NO_PARTITION = -1  # partition of loads that are not blocks
_SHARED = 0  # partition of all blocks, where partitions share them
_SHARED_BLOCKS = 8  # per partition: with more, partition borders cut only a few of them
_ALONE = -1  # owner of a sample that no load holds


class LoadId(NamedTuple):
    """Identifies a load: block `number` of a partition in an epoch, or any other load by a serial number.

    A block that a partition border cuts is two loads, unless partitions share blocks.
    """

    partition: int
    epoch: int
    number: int

    @property
    def is_block(self) -> bool:
        """Whether several chunks may take samples out of the load."""
        return self.partition != _NO_PARTITION

    def is_before(self, begin: Mapping[int, FirstBlock]) -> bool:
        """Return whether a block comes before the first one still wanted of its partition; see `Chunk.begin`."""
        return (self.epoch, self.number) < begin.get(self.partition, NO_BLOCK)


class FirstBlock(NamedTuple):
    """The first block of a partition that is still wanted."""

    epoch: int
    number: int


NO_BLOCK = FirstBlock(0, 0)  # none is before it


class WantedBlocks(NamedTuple):
    """Blocks of a partition in an epoch, from `begin` up to `end`."""

    partition: int
    epoch: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Samples that are read together.

    Attributes:
        id: Identifies the load.
        positions: (n) positions of the samples, in the order of the load's rows.
    """

    id: LoadId
    positions: Integers


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples that are handed out together.

    Attributes:
        positions: (n) positions of the samples.
        owner: (n) which of `load_ids` holds each sample; negative for a sample that is read alone.
        row: (n) the sample's row in that load.
        load_ids: The loads, in the order of their first use.
        begin: For each partition, the first block that is still wanted.
        ahead: The blocks that should be in progress when the chunk is handed out.
        shares_blocks: Whether partitions share blocks; their ids then have the same partition.
        repeats: (n) `Sample.repeat` of each sample; None for 0.
    """

    positions: Integers
    owner: Integers
    row: Integers
    load_ids: list[LoadId]
    begin: dict[int, FirstBlock] = field(default_factory=dict)
    ahead: list[WantedBlocks] = field(default_factory=list)
    shares_blocks: bool = False
    repeats: Integers | None = None

    def block_ids(self, wanted: WantedBlocks) -> list[LoadId]:
        """Return the ids of some of the blocks in `ahead`."""
        partition = _SHARED if self.shares_blocks else wanted.partition
        return [LoadId(partition, wanted.epoch, number) for number in range(wanted.begin, wanted.end)]


@dataclass(frozen=True, slots=True)
class SharingCosts:
    """What decides whether blocks cut by partition borders are read whole and kept.

    Attributes:
        total_bytes: Bytes of all streamed samples, over all ranks.
        memory_bytes: Upper limit on the memory of kept blocks.
        max_gap_bytes: Unwanted bytes that are worth reading to save one request.
    """

    total_bytes: int
    memory_bytes: int = 0
    max_gap_bytes: int = 0


class Planner:
    """Plans the chunks of one rank's epochs. Keeps the orders of epochs in progress; not thread-safe."""

    def __init__(
        self,
        view: SampleView,
        shuffle: Shuffle,
        rank_slice: RankSlice,
        *,
        whole_blocks: bool,
        costs: SharingCosts | None = None,
        draws: DrawnOrders | None = None,
    ) -> None:
        """Create a planner. `whole_blocks` loads blocks as a whole; otherwise each chunk is one load.

        With `draws`, slots have the samples of these orders, not of the shuffled view.
        """
        self._draws = draws
        self._drawn: dict[int, DrawnOrder] = {}
        self._view, self._shuffle, self._slice, self._costs = view, shuffle, rank_slice, costs
        self._whole_blocks = whole_blocks
        self._orders: dict[int, EpochOrder] = {}
        self._serial = count()
        self._once: dict[LoadId, Load] = {}

    @property
    def partitioning(self) -> Partitioning:
        """How each epoch is divided."""
        return self._slice.partitioning

    def order(self, epoch: int) -> EpochOrder:
        """Return the order of an epoch."""
        order = self._orders.get(epoch)
        if order is None:
            segments = self._view.segments() if self._shuffle.moves_segments else None
            order = EpochOrder(segments, self._shuffle, self._slice.partitioning, epoch)
            self._orders[epoch] = order
        return order

    def forget(self, epoch: int) -> None:
        """Drop the orders of all epochs before this one."""
        for old in [known for known in self._orders if known < epoch]:
            del self._orders[old]

    def chunks(self, epoch: Integers | int, partition: Integers, offset: Integers, size: int) -> Iterator[Chunk]:
        """Yield the chunks of the samples at n slots.

        Args:
            epoch: The epoch of all slots, or (n) the epoch of each.
            partition: (n) partition of each slot.
            offset: (n) offset of each slot in its partition.
            size: Samples per chunk where blocks are not loaded as a whole.
        """
        epochs = [epoch] if isinstance(epoch, int) else np.unique(epoch).tolist()
        if self._whole_blocks:
            if len(epochs) == 1:
                yield self._of_blocks(epochs[0], partition, offset)
                return
            which = [np.flatnonzero(epoch == one) for one in epochs]
            yield _joined(
                len(partition),
                [(at, self._of_blocks(one, partition[at], offset[at])) for at, one in zip(which, epochs, strict=True)],
            )
            return
        if self._draws is not None:
            yield from self._drawn_chunks(epochs[0], partition, offset, size)
            return
        items = self._items(epoch, partition, offset)
        yield from self._of_runs(self._view.at(items), self._view.repeats(items), size)

    def _drawn_chunks(self, epoch: int, partition: Integers, offset: Integers, size: int) -> Iterator[Chunk]:
        """Yield the chunks of the samples at n slots of a balanced or weighted epoch."""
        yield from self._of_runs(*self._drawn_order(epoch).samples(partition, offset), size)

    def _drawn_order(self, epoch: int) -> DrawnOrder:
        assert self._draws is not None
        if epoch not in self._drawn:
            self._drawn = {epoch: self._draws.order(self._slice.partitioning, epoch)}
        return self._drawn[epoch]

    def positions(self, epoch: Integers | int, partition: Integers, offset: Integers) -> Integers:
        """Return (n) the stored position of the sample at each of n slots; arguments as of `chunks`."""
        if self._draws is not None:
            assert isinstance(epoch, int), "a mix draws nothing"
            return self._drawn_order(epoch).samples(partition, offset)[0]
        return self._view.at(self._items(epoch, partition, offset))

    def _items(self, epoch: Integers | int, partition: Integers, offset: Integers) -> Integers:
        """Return (n) the item of the view at each of n slots."""
        if isinstance(epoch, int):
            return self.order(epoch).items(partition, offset)
        items = np.empty_like(partition)
        for one in np.unique(epoch).tolist():
            at = np.flatnonzero(epoch == one)
            items[at] = self.order(one).items(partition[at], offset[at])
        return items

    def load(self, load_id: LoadId) -> Load:
        """Return a load that a chunk refers to; one that is not a block is returned only once."""
        if not load_id.is_block:
            return self._once.pop(load_id)
        partition, epoch, number = load_id
        order = self.order(epoch)
        if self._is_shared(order):
            first, count = order.whole_block(number)
        else:
            ((first, count),) = order.block_items(partition, number, number + 1)
        return Load(load_id, self._view.at(np.arange(first, first + count)))

    def _is_shared(self, order: EpochOrder) -> bool:
        """Return whether partitions share the blocks that their borders cut, each read once and kept for the epoch.

        They do if one rank needs all blocks at a time anyway, or if samples are few: kept blocks then take little
        memory, and reading the samples of other ranks costs less than the requests that it saves.
        """
        if order.windows is None:
            return False
        ranks, costs = self._slice.world_size, self._costs
        if ranks == 1 and order.windows.hold_everything:
            return True
        partitions, blocks = self._slice.partitioning.partitions, order.num_blocks
        if costs is None or costs.total_bytes > costs.memory_bytes or blocks > _SHARED_BLOCKS * partitions:
            return False
        saved = (blocks + partitions - 1) // ranks - blocks
        return saved > 0 and costs.total_bytes // ranks * (ranks - 1) <= saved * costs.max_gap_bytes

    def _of_runs(self, positions: Integers, repeats: Integers | None, size: int) -> Iterator[Chunk]:
        """Yield the chunks of samples in their order, at least one."""
        for begin in range(0, max(1, len(positions)), size):
            own = None if repeats is None else repeats[begin : begin + size]
            yield self._of_run(positions[begin : begin + size], own)

    def _of_run(self, positions: Integers, repeats: Integers | None) -> Chunk:
        rows = np.arange(len(positions))
        if not len(positions):
            return Chunk(positions, rows, rows, [])
        load_id = LoadId(_NO_PARTITION, 0, next(self._serial))
        self._once[load_id] = Load(load_id, positions)
        if repeats is not None and not repeats.any():
            repeats = None
        return Chunk(positions, np.zeros_like(rows), rows, [load_id], repeats=repeats)

    def _of_blocks(self, epoch: int, partition: Integers, offset: Integers) -> Chunk:
        """Return the chunk of the samples at n slots of one epoch, out of b blocks."""
        order, owned = self.order(epoch), partition % self._slice.world_size == self._slice.rank  # owned: (n)
        if not owned.all():  # padding belongs to another rank's block, which is not worth reading for one sample
            at, others = np.flatnonzero(owned), np.flatnonzero(~owned)
            mine = self._of_blocks(epoch, partition[at], offset[at])
            items, alone = order.items(partition[others], offset[others]), np.full(len(others), _ALONE)
            padding = Chunk(self._view.at(items), alone, alone, [], repeats=self._view.repeats(items))
            return _joined(len(partition), [(at, mine), (others, padding)])
        if not len(partition):
            return Chunk(partition, partition, partition, [])
        shared = self._is_shared(order)
        # (n) item at each slot, (n) number of its block in the partition, (n) first item of that block
        item, number, first_item = order.items_in_blocks(partition, offset, whole=shared)
        owner = np.full_like(partition, _SHARED) if shared else partition
        first_uses, block = _by_first_use(owner * order.num_blocks + number)
        owners, numbers = owner[first_uses].tolist(), number[first_uses].tolist()
        load_ids = [LoadId(p, epoch, n) for p, n in zip(owners, numbers, strict=True)]
        ahead = self._wanted(order, epoch, partition, offset)
        if shared:
            begin = {_SHARED: FirstBlock(epoch, 0)}
        else:
            begin = {wanted.partition: FirstBlock(epoch, wanted.begin) for wanted in ahead}
        positions, repeats = self._view.at(item), self._view.repeats(item)
        return Chunk(positions, block, item - first_item, load_ids, begin, ahead, shared, repeats)

    def _wanted(self, order: EpochOrder, epoch: int, partition: Integers, offset: Integers) -> list[WantedBlocks]:
        """Return the blocks that n slots in p partitions want, with all that are shuffled together: `Chunk.ahead`.

        The slots of each partition are in order, so that its first and its last slot decide.
        """
        assert order.windows is not None
        parts, first = np.unique(partition, return_index=True)  # (p) partitions; (p) the first slot of each
        last = len(partition) - 1 - np.unique(partition[::-1], return_index=True)[1]  # (p) the last slot of each
        at = np.concatenate([first, last])  # (2p)
        begin, end = order.windows.blocks_wanted(  # (2p) each
            partition[at], self._slice.partitioning.slots(partition[at], offset[at])
        )
        partitions, begins, ends = parts.tolist(), begin[: len(parts)].tolist(), end[len(parts) :].tolist()
        return [WantedBlocks(p, epoch, first, end) for p, first, end in zip(partitions, begins, ends, strict=True)]


def _by_first_use(keys: Integers) -> tuple[Integers, Integers]:
    """Return where each of b different keys is first, ascending: (b); and the number of each key in this order: (n)."""
    _, first_use, number = np.unique(keys, return_index=True, return_inverse=True)  # (b), (n): in the order of the keys
    place = np.empty_like(first_use)
    place[np.argsort(first_use)] = np.arange(len(first_use))
    return np.sort(first_use), place[number.reshape(-1)]


def _joined(total: int, parts: list[tuple[Integers, Chunk]]) -> Chunk:
    """Return one chunk of `total` samples, joined from (rows, chunk): a chunk's samples go to these rows."""
    positions, owner, row = (np.empty(total, np.int64) for _ in range(3))
    load_ids: list[LoadId] = []
    begin: dict[int, FirstBlock] = {}
    ahead, shares_blocks = [], False
    repeats = None if all(chunk.repeats is None for _, chunk in parts) else np.zeros(total, np.int64)
    for at, chunk in parts:
        positions[at], row[at] = chunk.positions, chunk.row
        owner[at] = np.where(chunk.owner < 0, _ALONE, chunk.owner + len(load_ids))
        load_ids += chunk.load_ids
        for partition, first in chunk.begin.items():
            begin[partition] = min(first, begin.get(partition, first))
        ahead += chunk.ahead
        if repeats is not None and chunk.repeats is not None:
            repeats[at] = chunk.repeats
        shares_blocks |= chunk.shares_blocks
    return Chunk(positions, owner, row, load_ids, begin, ahead, shares_blocks, repeats)

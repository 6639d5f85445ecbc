"""What to read for the samples at some slots, and what they will need soon: integers, nothing is read.

    (epoch, partition, offset) --epoch order--> items --view--> positions --> `Chunk`

Shuffled by blocks, a chunk takes samples out of blocks that many chunks share; in every other order it
is read as one. Either way a `Load` is what one thread reads at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from shardpack.order.epoch import EpochOrder
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.view import SampleView
from shardpack.runtime.arrays import Integers

Name = tuple[int, int, int]  # of a load: partition, epoch, number in it; a cut may share a block out to two partitions

_NO_PARTITION = -1  # of loads that are no blocks
_SHARED = 0  # partition of all blocks, where partitions share them
_SHARED_BLOCKS = 8  # a partition: with more of them, few are cut by its borders
_LOOSE = -1  # owner of a sample that is read by itself


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Samples that are read together.

    Attributes:
        name: Tells it from others.
        positions: (n) in the order of its rows.
    """

    name: Name
    positions: Integers

    @property
    def is_block(self) -> bool:
        """Whether several chunks may take samples out of it."""
        return self.name[0] != _NO_PARTITION


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples that are handed out together.

    Attributes:
        positions: (n) of the samples.
        owner: (n) which of `names` holds each; less than 0 for one that is read by itself.
        row: (n) where in it.
        names: Loads, in the order of their first use.
        begin: By partition, (epoch, number) of the first block that is still wanted.
        ahead: (partition, epoch, begin, end): blocks that should be under way when the chunk is handed out.
        shares_blocks: Whether partitions share them: what is ahead of any has the name that `names` has for it.
    """

    positions: Integers
    owner: Integers
    row: Integers
    names: list[Name]
    begin: dict[int, tuple[int, int]] = field(default_factory=dict)
    ahead: list[tuple[int, int, int, int]] = field(default_factory=list)
    shares_blocks: bool = False

    def block_name(self, partition: int, epoch: int, number: int) -> Name:
        """Return the name of a block that is ahead of a partition."""
        return _SHARED if self.shares_blocks else partition, epoch, number


@dataclass(frozen=True, slots=True)
class Costs:
    """What decides whether blocks that partition borders cut are read whole and kept.

    Attributes:
        total_bytes: Of all samples that are streamed, over all ranks.
        memory_bytes: That kept blocks may take.
        max_gap_bytes: Unwanted bytes that are worth reading for the sake of a request less.
    """

    total_bytes: int
    memory_bytes: int = 0
    max_gap_bytes: int = 0


class Planner:
    """The chunks of one rank's epochs. Keeps the orders of the epochs that are under way; not thread-safe."""

    def __init__(
        self,
        view: SampleView,
        shuffle: Shuffle,
        rank_slice: RankSlice,
        *,
        whole_blocks: bool,
        costs: Costs | None = None,
    ) -> None:
        """Plan whole blocks, or as many samples at once as are asked for."""
        self._view, self._shuffle, self._slice, self._costs = view, shuffle, rank_slice, costs
        self._whole_blocks = whole_blocks
        self._orders: dict[int, EpochOrder] = {}
        self._serial = count()
        self._once: dict[Name, Load] = {}

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
        """Let go of all orders before an epoch."""
        for old in [known for known in self._orders if known < epoch]:
            del self._orders[old]

    def chunks(self, epoch: Integers | int, partition: Integers, offset: Integers, size: int) -> Iterator[Chunk]:
        """Yield the chunks of samples at (n) slots of an epoch, or of (n) epochs.

        `size` is how many samples are read as one where blocks are not.
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
        items = np.empty_like(partition)
        for one in epochs:
            at = slice(None) if len(epochs) == 1 else np.flatnonzero(epoch == one)
            items[at] = self.order(one).items(partition[at], offset[at])
        positions = self._view.at(items)
        for begin in range(0, len(positions), size):
            yield self._of_run(positions[begin : begin + size])
        if not len(positions):
            yield self._of_run(positions)

    def load(self, name: Name) -> Load:
        """Return what a chunk names."""
        partition, epoch, number = name
        if partition == _NO_PARTITION:
            return self._once.pop(name)
        order = self.order(epoch)
        if self._is_shared(order):
            first, count = order.whole_block(number)
        else:
            ((first, count),) = order.block_items(partition, number, number + 1)
        return Load(name, self._view.at(np.arange(first, first + count)))

    def _is_shared(self, order: EpochOrder) -> bool:
        """Return whether partitions share the blocks that their borders cut, each read once and kept for the epoch.

        They do where one rank wants all blocks at a time anyway, and where the samples are few: what is kept
        is little then, and what ranks read for each other's sake takes less than the requests they save.
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

    def _of_run(self, positions: Integers) -> Chunk:
        rows = np.arange(len(positions))
        if not len(positions):
            return Chunk(positions, rows, rows, [])
        name = _NO_PARTITION, 0, next(self._serial)
        self._once[name] = Load(name, positions)
        return Chunk(positions, np.zeros_like(rows), rows, [name])

    def _of_blocks(self, epoch: int, partition: Integers, offset: Integers) -> Chunk:
        order, owned = self.order(epoch), partition % self._slice.world_size == self._slice.rank
        if not owned.all():  # padding is of another rank's block: not worth reading for one sample
            at = np.flatnonzero(owned)
            mine = self._of_blocks(epoch, partition[at], offset[at])
            loose = np.flatnonzero(~owned)
            positions = self._view.at(order.items(partition[loose], offset[loose]))
            nowhere = np.full(len(loose), _LOOSE)
            return _joined(len(partition), [(at, mine), (loose, Chunk(positions, nowhere, nowhere, []))])
        if not len(partition):
            return Chunk(partition, partition, partition, [])
        shared = self._is_shared(order)
        item, number, first_item = order.items_in_blocks(partition, offset, whole=shared)
        owner = np.full_like(partition, _SHARED) if shared else partition
        key = owner * order.num_blocks + number
        _, first_use, block = np.unique(key, return_index=True, return_inverse=True)
        rank = np.empty_like(first_use)
        rank[np.argsort(first_use)] = np.arange(len(first_use))
        used = np.sort(first_use)
        names = [(p, epoch, n) for p, n in zip(owner[used].tolist(), number[used].tolist(), strict=True)]
        begin, ahead = self._wanted(order, epoch, partition, offset)
        if shared:
            begin = {_SHARED: (epoch, 0)}
        return Chunk(self._view.at(item), rank[block.reshape(-1)], item - first_item, names, begin, ahead, shared)

    def _wanted(
        self, order: EpochOrder, epoch: int, partition: Integers, offset: Integers
    ) -> tuple[dict[int, tuple[int, int]], list[tuple[int, int, int, int]]]:
        """Return, by partition, the first block that slots want, and up to which reading should be under way.

        The slots of each partition come in order, so the first and the last of them tell.
        """
        assert order.windows is not None
        parts, first = np.unique(partition, return_index=True)
        last = len(partition) - 1 - np.unique(partition[::-1], return_index=True)[1]
        at = np.concatenate([first, last])
        begin, end = order.windows.blocks_wanted(
            partition[at], self._slice.partitioning.slots(partition[at], offset[at])
        )
        names, begins, ends = parts.tolist(), begin[: len(parts)].tolist(), end[len(parts) :].tolist()
        return (
            {p: (epoch, first) for p, first in zip(names, begins, strict=True)},
            [(p, epoch, first, end) for p, first, end in zip(names, begins, ends, strict=True)],
        )


def _joined(total: int, parts: list[tuple[Integers, Chunk]]) -> Chunk:
    """Return one chunk of `total` samples, made of several whose samples stand at some of its rows each."""
    positions, owner, row = (np.empty(total, np.int64) for _ in range(3))
    names: list[Name] = []
    begin: dict[int, tuple[int, int]] = {}
    ahead, shares_blocks = [], False
    for at, chunk in parts:
        positions[at], row[at] = chunk.positions, chunk.row
        owner[at] = np.where(chunk.owner < 0, _LOOSE, chunk.owner + len(names))
        names += chunk.names
        for partition, first in chunk.begin.items():
            begin[partition] = min(first, begin.get(partition, first))
        ahead += chunk.ahead
        shares_blocks |= chunk.shares_blocks
    return Chunk(positions, owner, row, names, begin, ahead, shares_blocks)

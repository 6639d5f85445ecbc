"""The order of one epoch: from a place in a partition to an item, by arithmetic (SPEC 7.3).

    "none"     the sequence as it is
    "shards"   segments permuted, items inside as they are
    "blocks"   blocks permuted; the items of a window of blocks shuffled
    "global"   all items permuted, in constant memory

Nothing is replayed: any place costs a bisection over the blocks, whatever came before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.plan.blocks import Blocks, Segments, cut_blocks, whole_segments
from shardpack.plan.order import BLOCK_ORDER, GLOBAL_ORDER, SHARD_ORDER, WINDOW_ORDER, derive_key, permutation
from shardpack.plan.partition import Partitioning
from shardpack.plan.shuffle import shuffled

SHUFFLES = ("none", "shards", "blocks", "global")
DEFAULT_BLOCK_BYTES = 4 << 20
DEFAULT_WINDOW_BLOCKS = 32


@dataclass(frozen=True, slots=True)
class Shuffle:
    """How an epoch is shuffled.

    Attributes:
        mode: "none", "shards", "blocks" or "global".
        seed: Any integer; with the epoch it fixes the order.
        block_bytes: For "blocks": about how long a block is. Longer blocks make fewer, longer
            reads; shorter ones mix better.
        window_blocks: For "blocks": how many blocks are mixed at a time. The window of each
            partition, block_bytes * window_blocks, is what must be near at hand: in the page
            cache for local files.
    """

    mode: str = "none"
    seed: int = 0
    block_bytes: int = DEFAULT_BLOCK_BYTES
    window_blocks: int = DEFAULT_WINDOW_BLOCKS

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_integer("seed", self.seed))
        if self.mode not in SHUFFLES:
            raise OptionError(f"shuffle is {self.mode!r}; choose one of {', '.join(map(repr, SHUFFLES))}")
        if self.block_bytes < 1 or self.window_blocks < 1:
            raise OptionError(
                f"block_bytes is {self.block_bytes} and window_blocks {self.window_blocks}; both must be at least 1"
            )


def as_integer(name: str, number: int) -> int:
    """Return a whole number as an int, NumPy's among them.

    Raises:
        OptionError: It is none.
    """
    try:
        return index(number)
    except TypeError:
        raise OptionError(f"{name} is {number!r}, expected an integer") from None


class EpochOrder:
    """The items of one epoch, by partition and offset. Immutable, safe in threads.

    Set-up costs O(blocks) time and memory ("none" and "global": constant).
    """

    def __init__(self, segments: Segments, shuffle: Shuffle, deal: Partitioning, epoch: int) -> None:
        self._shuffle, self._deal, self._epoch = shuffle, deal, epoch
        self._starts = np.array([deal.start(p) for p in range(deal.partitions)], np.int64)
        self._blocks: Blocks | None = None  # in this epoch's order
        if shuffle.mode == "shards":
            self._arrange(whole_segments(segments), derive_key(SHARD_ORDER, shuffle.seed, epoch))
        elif shuffle.mode == "blocks":
            self._arrange(cut_blocks(segments, shuffle.block_bytes), derive_key(BLOCK_ORDER, shuffle.seed, epoch))

    def _arrange(self, blocks: Blocks, key: int) -> None:
        order = permutation(len(blocks.first), key)
        self._blocks = Blocks(blocks.first[order], blocks.count[order])
        self._ends = np.cumsum(self._blocks.count)  # of each block in the concatenation of all

    def items(self, partition: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the items at some places: (n) partitions and offsets in them."""
        place = self._starts[partition] + offset
        if self._shuffle.mode == "global":
            key = derive_key(GLOBAL_ORDER, self._shuffle.seed, self._epoch)
            return shuffled(place, self._deal.num_items, key)
        if self._blocks is None:
            return place
        if self._shuffle.mode == "blocks":
            place = self._mix(partition, place)
        block = np.searchsorted(self._ends, place, side="right")
        begin = self._ends[block] - self._blocks.count[block]
        return self._blocks.first[block] + (place - begin)

    @property
    def has_blocks(self) -> bool:
        """Whether samples of several blocks are mixed, so that reading ahead means blocks."""
        return self._shuffle.mode == "blocks"

    def first_block(self, partition: int, offset: int) -> int:
        """Return the first block, counted in this epoch's order, of the window that holds a place."""
        bounds = self._windows(partition)
        window = int(np.searchsorted(bounds, self._deal.start(partition) + offset, side="right"))
        return int(np.searchsorted(self._ends, bounds[window - 1], side="right"))

    def blocks_wanted(self, partition: int, offset: int) -> int:
        """Return up to which block reading should be under way when a place is reached.

        The whole window of the place, and as much of the next as the place is far into its own.
        """
        place, bounds = self._deal.start(partition) + offset, self._windows(partition)
        window = int(np.searchsorted(bounds, place, side="right"))
        first, stop = int(bounds[window - 1]), int(bounds[min(window, len(bounds) - 1)])
        until = int(np.searchsorted(self._ends, stop, side="left")) + 1
        share = (place - first + 1) / max(1, stop - first)
        last = int(np.searchsorted(self._ends, int(bounds[-1]), side="left")) + 1
        return min(until + int(share * self._shuffle.window_blocks), last, len(self._ends))

    def block_items(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return (first item, count) of some blocks, counted in this epoch's order."""
        assert self._blocks is not None
        return list(zip(self._blocks.first[begin:end].tolist(), self._blocks.count[begin:end].tolist(), strict=True))

    def _mix(self, partition: npt.NDArray[np.int64], place: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Shuffle places within their windows."""
        mixed = np.empty_like(place)
        window = np.empty_like(place)
        for p in np.unique(partition).tolist():
            mine = partition == p
            window[mine] = np.searchsorted(self._windows(p), place[mine], side="right")
        for p, w in np.unique(np.stack((partition, window)), axis=1).T.tolist():
            mine = (partition == p) & (window == w)
            bounds = self._windows(p)
            first, stop = int(bounds[w - 1]), int(bounds[w])
            key = derive_key(WINDOW_ORDER, self._shuffle.seed, self._epoch, p, w - 1)
            mixed[mine] = first + shuffled(place[mine] - first, stop - first, key)
        return mixed

    def _windows(self, partition: int) -> npt.NDArray[np.int64]:
        """Return the bounds of a partition's windows, as places: its start, ..., its end."""
        start, stop = self._deal.start(partition), self._stop(partition)
        first_block = int(np.searchsorted(self._ends, start, side="right"))
        last_block = int(np.searchsorted(self._ends, stop, side="left"))
        inner = self._ends[first_block + self._shuffle.window_blocks - 1 : last_block : self._shuffle.window_blocks]
        return np.concatenate(([start], inner[(inner > start) & (inner < stop)], [stop]))

    def _stop(self, partition: int) -> int:
        return self._deal.start(partition) + self._deal.length(partition)

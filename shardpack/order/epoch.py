"""The order of one epoch: from a place in a partition to an item, by arithmetic (SPEC 7.3).

    "none"     the sequence as it is
    "shards"   segments permuted, items inside as they are
    "blocks"   blocks permuted; the items of a window of blocks shuffled
    "global"   all items permuted, in constant memory

Nothing is replayed: any place costs a bisection over the blocks, whatever came before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.order.blocks import Blocks, Segments, cut_blocks, whole_segments
from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import BLOCK_ORDER, GLOBAL_ORDER, SHARD_ORDER, derive_key, permutation
from shardpack.order.shuffled import shuffled
from shardpack.order.windows import Windows
from shardpack.runtime.arguments import as_integer, one_of
from shardpack.runtime.sizes import parse_bytes

SHUFFLES = ("none", "shards", "blocks", "global")
DEFAULT_BLOCK_BYTES = 4 << 20
DEFAULT_WINDOW_BLOCKS = 32
MAX_OPTION = 1 << 62  # so that sums fit 64 bits


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
        one_of("shuffle", self.mode, SHUFFLES)
        for name in ("block_bytes", "window_blocks"):
            number = as_integer(name, getattr(self, name), minimum=1, maximum=MAX_OPTION)
            object.__setattr__(self, name, number)


def as_shuffle(shuffle: str | bool, seed: int, block_bytes: int | str, window_blocks: int) -> Shuffle:
    """Return a shuffle as callers write it: True for "blocks", False for "none", sizes also like "4MiB".

    Raises:
        OptionError: An option is out of range.
    """
    mode = {True: "blocks", False: "none"}[shuffle] if isinstance(shuffle, bool) else shuffle
    return Shuffle(mode, seed, parse_bytes(block_bytes), window_blocks)


class EpochOrder:
    """The items of one epoch, by partition and offset. Immutable, safe in threads.

    Set-up costs O(blocks) time and memory ("none" and "global": constant).

    Attributes:
        windows: For "blocks", what is mixed with what; else None.
    """

    def __init__(self, segments: Segments, shuffle: Shuffle, deal: Partitioning, epoch: int) -> None:
        self._deal = deal
        self._blocks: Blocks | None = None  # in this epoch's order
        self._global_key: int | None = None
        self.windows: Windows | None = None
        if shuffle.mode == "shards":
            self._arrange(whole_segments(segments), derive_key(SHARD_ORDER, shuffle.seed, epoch))
        elif shuffle.mode == "blocks":
            self._arrange(cut_blocks(segments, shuffle.block_bytes), derive_key(BLOCK_ORDER, shuffle.seed, epoch))
            self.windows = Windows(self._ends, deal, shuffle.window_blocks, shuffle.seed, epoch)
        elif shuffle.mode == "global":
            self._global_key = derive_key(GLOBAL_ORDER, shuffle.seed, epoch)

    def _arrange(self, blocks: Blocks, key: int) -> None:
        order = permutation(len(blocks.first), key)
        self._blocks = Blocks(blocks.first[order], blocks.count[order])
        self._ends = np.cumsum(self._blocks.count)  # of each block, as a place
        self._shift = self._blocks.first - (self._ends - self._blocks.count)  # from place to item

    def items(self, partition: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the items at some places: (n) partitions and offsets in them."""
        place = self._deal.places(partition, offset)
        if self._global_key is not None:
            return shuffled(place, self._deal.num_items, self._global_key)
        if self._blocks is None:
            return place
        if self.windows is not None:
            place = self.windows.mix(partition, place)
        return place + self._shift[np.searchsorted(self._ends, place, side="right")]

    @property
    def num_blocks(self) -> int:
        """Blocks of the epoch; for "shards" they are shards."""
        return 0 if self._blocks is None else len(self._ends)

    def items_in_blocks(
        self, partition: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the items at some places, the blocks that hold them, and where their partition's part of those begins.

        Blocks are counted in this epoch's order; parts begin with an item. An item of padding may be of a
        block of which its partition has nothing: it then lies outside of that part.
        """
        assert self._blocks is not None
        assert self.windows is not None
        place = self.windows.mix(partition, self._deal.places(partition, offset))
        block = np.searchsorted(self._ends, place, side="right")
        start = self._deal.places(partition, np.zeros_like(partition))
        first = np.maximum(self._ends[block] - self._blocks.count[block], start)
        shift = self._shift[block]
        return place + shift, block, first + shift

    def block_items(self, partition: int, begin: int, end: int) -> list[tuple[int, int]]:
        """Return (first item, count) of what a partition has of some blocks, counted in this epoch's order."""
        assert self._blocks is not None
        first = self._ends[begin:end] - self._blocks.count[begin:end]
        start, stop = self._deal.start(partition), self._deal.start(partition + 1)
        place = np.maximum(first, start)
        count = np.minimum(self._ends[begin:end], stop) - place
        items = place + self._shift[begin:end]
        return [pair for pair in zip(items.tolist(), count.tolist(), strict=True) if pair[1] > 0]

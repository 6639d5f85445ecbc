"""Options of a shuffle, checked: together with the epoch they determine an order (SPEC 7.3)."""

from __future__ import annotations

from dataclasses import dataclass

from shardpack.runtime.arguments import as_integer, one_of
from shardpack.runtime.sizes import parse_bytes

SHUFFLES = ("none", "shards", "blocks", "global")
DEFAULT_BLOCK_BYTES = 4 << 20
WINDOW_BLOCKS_PER_RANK = 32  # default window: this many times the world size at the first start
MAX_OPTION = 1 << 62  # keeps sums within 64 bits


@dataclass(frozen=True, slots=True)
class Shuffle:
    """How an epoch is shuffled.

    Attributes:
        mode: "none", "shards", "blocks" or "global".
        seed: Any integer.
        block_bytes: For "blocks": approximate size of a block. Larger blocks need fewer reads;
            smaller ones mix better.
        window_blocks: For "blocks": how many blocks are mixed at a time, over all partitions; each
            partition gets an equal share, rounded up.
    """

    mode: str = "none"
    seed: int = 0
    block_bytes: int = DEFAULT_BLOCK_BYTES
    window_blocks: int = WINDOW_BLOCKS_PER_RANK

    @property
    def moves_segments(self) -> bool:
        """Whether the order depends on where shards begin; "none" and "global" need the number of samples only."""
        return self.mode in {"shards", "blocks"}

    @property
    def is_sequential(self) -> bool:
        """Whether neighbours in the order are mostly neighbours in their shard."""
        return self.mode in {"none", "shards"}

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_integer("seed", self.seed))
        one_of("shuffle", self.mode, SHUFFLES)
        for name in ("block_bytes", "window_blocks"):
            number = as_integer(name, getattr(self, name), minimum=1, maximum=MAX_OPTION)
            object.__setattr__(self, name, number)


def as_shuffle(
    shuffle: str | bool, seed: int, block_bytes: int | str, window_blocks: int | None, *, world_size: int = 1
) -> Shuffle:
    """Return the shuffle that public options describe.

    `shuffle` may be True for "blocks" or False for "none"; `block_bytes` may be a text like "4MiB";
    `window_blocks` is 32 times the world size if it is None.

    Raises:
        OptionError: An option is out of range.
    """
    mode = {True: "blocks", False: "none"}[shuffle] if isinstance(shuffle, bool) else shuffle
    if window_blocks is None:
        window_blocks = WINDOW_BLOCKS_PER_RANK * as_integer("world_size", world_size, minimum=1)
    return Shuffle(mode, seed, parse_bytes(block_bytes), window_blocks)

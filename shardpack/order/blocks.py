"""Blocks: runs of neighbouring samples that streaming reads and moves as one (SPEC 7.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError

MAX_BLOCKS = 1 << 26  # 2.5 GB of memory, while they are arranged; 256 TiB in blocks of 4 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The sequence that is streamed: runs of items that lie together in one shard.

    Attributes:
        count: (s) items of each segment, at least 1.
        num_bytes: (s) bytes of each, headers included; may be an estimate.
    """

    count: npt.NDArray[np.int64]
    num_bytes: npt.NDArray[np.int64]

    @property
    def num_items(self) -> int:
        return int(self.count.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Blocks in the order of the sequence.

    Attributes:
        first: (b) first item of each block.
        count: (b) its items.
    """

    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]


def whole_segments(segments: Segments) -> Blocks:
    """Return one block a segment."""
    return Blocks(np.cumsum(segments.count) - segments.count, segments.count)


def cut_blocks(segments: Segments, block_bytes: int) -> Blocks:
    """Return each segment cut into as many equal blocks as it has `block_bytes`, to the nearest.

    Block j of b in a segment of n items holds its items floor(j n / b) to floor((j + 1) n / b).

    Raises:
        OptionError: These are more blocks than memory should be asked for.
    """
    whole, rest = np.divmod(segments.num_bytes, block_bytes)
    pieces = np.clip(whole + (rest >= block_bytes - block_bytes // 2), 1, segments.count)
    if int(pieces.sum()) > MAX_BLOCKS:
        raise OptionError(f"more than {MAX_BLOCKS} blocks of {block_bytes} bytes; choose longer blocks")
    segment_first = np.cumsum(segments.count) - segments.count
    owner = np.repeat(np.arange(len(pieces)), pieces)
    j = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = j * segments.count[owner] // pieces[owner]
    end = (j + 1) * segments.count[owner] // pieces[owner]
    return Blocks(segment_first[owner] + begin, end - begin)

"""Blocks: runs of neighbouring samples that streaming reads and shuffles as a unit (SPEC 7.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError

MAX_BLOCKS = 1 << 26  # need 2.5 GB of memory; hold 256 TiB in blocks of 4 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The sequence to stream, as segments: runs of items that are consecutive in one shard.

    Attributes:
        count: (s) number of items in each segment, at least 1.
        num_bytes: (s) bytes of each segment, headers included; may be an estimate.
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
        count: (b) number of items in each block.
    """

    first: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]


def whole_segments(segments: Segments) -> Blocks:
    """Return one block per segment."""
    return Blocks(np.cumsum(segments.count) - segments.count, segments.count)


def cut_blocks(segments: Segments, block_bytes: int) -> Blocks:
    """Return the segments cut into equal blocks of about `block_bytes` each.

    Block j of b in a segment of n items begins with item floor(j n / b) and ends before item
    floor((j + 1) n / b) of the segment.

    Raises:
        OptionError: The result would have more than `MAX_BLOCKS` blocks.
    """
    whole, rest = np.divmod(segments.num_bytes, block_bytes)
    pieces = np.clip(whole + (rest >= block_bytes - block_bytes // 2), 1, segments.count)
    if int(pieces.sum()) > MAX_BLOCKS:
        raise OptionError(f"more than {MAX_BLOCKS} blocks of {block_bytes} bytes; choose larger blocks")
    segment_first = np.cumsum(segments.count) - segments.count
    owner = np.repeat(np.arange(len(pieces)), pieces)
    j = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = j * segments.count[owner] // pieces[owner]
    end = (j + 1) * segments.count[owner] // pieces[owner]
    return Blocks(segment_first[owner] + begin, end - begin)

"""Which bytes of one shard to read for some of its samples, and where each payload will be in them; no I/O.

rows --index columns--> members --coalesce--> requests, and for each member its request and offset
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardpack.format.tar_header import BLOCK
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits, coalesce
from shardpack.storage.protocols import Ranges

FIELD_GAP_BYTES = 1023  # a header and padding: shorter than any member, so no unwanted field is read
# Streams read small samples in long requests. Large local samples are read one by one: slicing them out of a long
# buffer would copy each a second time.
STREAM_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=8 << 20)


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
    """Payloads of one shard to be read.

    Attributes:
        shard: The shard.
        fields: The wanted fields that occur in this shard.
        rows: (n) Rows of the wanted samples.
        owner: (p) Which of `rows` each payload belongs to; ascending.
        member: (p) The number of each payload in the index.
        starts, sizes: (p) Where each payload is in the shard.
    """

    shard: ShardReader
    fields: tuple[str, ...]
    rows: Integers
    owner: Integers
    member: Integers
    starts: Integers
    sizes: Integers

    @property
    def num_bytes(self) -> int:
        """Sum of the sizes of all payloads."""
        return int(self.sizes.sum())

    @property
    def stored_bytes(self) -> int:
        """Bytes that the payloads take in their tar with headers and padding, or a little less."""
        return int((self.sizes + (2 * BLOCK - 1) & -BLOCK).sum())

    @property
    def field(self) -> Integers:
        """(p) The number of each payload's field in the shard."""
        numbers = self.shard.index.field
        return self.member % self.shard.width if numbers is None else numbers[self.member].astype(np.int64)

    def requests(self, limits: MergeLimits) -> Requests:
        """Return the ranges to request from a store."""
        merged = coalesce(self.starts, self.sizes, limits=limits)
        ranges = Ranges(self.shard.path, merged.starts.tolist(), merged.lengths.tolist())
        return Requests(ranges, merged.owner, self.starts - merged.starts[merged.owner])

    def merge_limits(self, *, neighbours: bool, reads_gaps: bool = False) -> MergeLimits:
        """Return which of the ranges are worth merging.

        Args:
            neighbours: Whether the samples mostly follow one another, so that long ranges contain little else.
            reads_gaps: Whether unwanted fields between the wanted ones may be read with them, as they are small.
        """
        shard = self.shard
        usual = shard.store.merge_limits
        if len(self.fields) != shard.width and not reads_gaps:  # a gap may contain an unwanted field
            return MergeLimits(min(FIELD_GAP_BYTES, usual.max_gap_bytes), usual.max_request_bytes)
        return STREAM_LIMITS if neighbours and (shard.store.remote or not shard.has_large_samples()) else usual


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Ranges of one shard, and where payloads will be in them.

    Attributes:
        ranges: The ranges to be read.
        owner: (p) The number of the range that holds each payload.
        begins: (p) Where each payload begins in its range.
    """

    ranges: Ranges
    owner: Integers
    begins: Integers


def plan_read(shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None) -> ReadPlan:
    """Return what to read for some rows of a shard; fields that no sample of the shard has are left out.

    Args:
        shard: The shard.
        rows: Rows in any order; repeats are allowed.
        fields: The fields to read; None for all.
    """
    columns, index = shard.columns_of(fields), shard.index
    owner, member = index.pick(rows, None if len(columns) == shard.width else columns)
    # Viewed as signed numbers: none exceeds 2^63 - 1.
    starts, sizes = index.data_offset[member].view(np.int64), index.size[member].view(np.int64)
    return ReadPlan(shard, tuple(shard.fields[column] for column in columns), rows, owner, member, starts, sizes)

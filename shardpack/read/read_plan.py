"""Which bytes of one shard to read for some of its samples, and where each payload will be in them: no I/O.

rows --index columns--> members --coalesce--> requests, and for each member its request and offset
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits, coalesce
from shardpack.storage.protocols import Ranges

# Streaming takes small samples in long requests. Large ones are read one by one all the same, if they
# are local: slicing them out of a long buffer would copy each a second time.
FIELD_GAP_BYTES = 1023  # a header and its padding: less than any member takes
STREAM_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=8 << 20)


@dataclass(frozen=True, slots=True, eq=False)
class ReadPlan:
    """Payloads of one shard that are to be read; nothing has been read yet.

    Attributes:
        shard, fields: Of the payloads; the wanted fields that occur in this shard.
        rows: (n) of the wanted samples.
        owner: (p) which of `rows` has each payload; ascending.
        member: (p) its number in the index.
        starts, sizes: (p) where it lies in the shard.
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
        """Payload bytes."""
        return int(self.sizes.sum())

    @property
    def field(self) -> Integers:
        """(p) which of the shard's fields each payload is."""
        numbers = self.shard.index.field
        return self.member % self.shard.width if numbers is None else numbers[self.member].astype(np.int64)

    def requests(self, limits: MergeLimits) -> Requests:
        """Return what to ask a store for."""
        merged = coalesce(self.starts, self.sizes, limits=limits)
        ranges = Ranges(self.shard.path, merged.starts.tolist(), merged.lengths.tolist())
        begins = self.starts - merged.starts[merged.owner]
        return Requests(ranges, merged.owner, begins, begins + self.sizes)


@dataclass(frozen=True, slots=True, eq=False)
class Requests:
    """Ranges of one shard, and where payloads will be in them.

    Attributes:
        ranges: To be read; None where the buffer is the whole shard.
        owner: (p) the range that holds each payload.
        begins, ends: (p) where in it.
    """

    ranges: Ranges | None
    owner: Integers
    begins: Integers
    ends: Integers


def plan_read(shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None) -> ReadPlan:
    """Return what to read for some rows of a shard; fields that no sample here has are passed over.

    Args:
        shard: That holds them.
        rows: In any order; repeats are fine.
        fields: Read only these; all of them by default.
    """
    columns, index = shard.columns_of(fields), shard.index
    owner, member = index.pick(rows, None if len(columns) == shard.width else columns)
    # As signed numbers: none exceeds 2^63 - 1.
    starts, sizes = index.data_offset[member].view(np.int64), index.size[member].view(np.int64)
    return ReadPlan(shard, tuple(shard.fields[column] for column in columns), rows, owner, member, starts, sizes)


def merge_limits(plan: ReadPlan, *, streaming: bool) -> MergeLimits:
    """Return which ranges of a plan are worth merging.

    Args:
        plan: What is wanted.
        streaming: Whether the samples are neighbours, so that long ranges take them all.
    """
    shard = plan.shard
    usual = shard.store.merge_limits
    if len(plan.fields) != shard.width:  # a gap may be an unwanted field
        return MergeLimits(min(FIELD_GAP_BYTES, usual.max_gap_bytes), usual.max_request_bytes)
    return STREAM_LIMITS if streaming and (shard.store.remote or not shard.has_large_samples()) else usual

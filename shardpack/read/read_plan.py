"""Payloads of one shard into samples: one sample at a time, or many with their reads planned together.

    rows --index columns--> `Wanted`, byte ranges --coalesce--> requests --> slices, one a field

Nothing here decides which samples: callers bring rows and empty samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.read.sample import Sample
from shardpack.read.shard_reader import OpenShard
from shardpack.storage.coalesce import MergeLimits, coalesce
from shardpack.storage.protocols import Ranges

# Streaming takes small samples in long requests. Large ones are read one by one all the same, if they
# are near: slicing them out of a long buffer would copy each a second time.
FIELD_GAP_BYTES = 1023  # a header and its padding: less than any member takes
STREAM_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=8 << 20)


def read_sample(shard: OpenShard, row: int, sample: Sample, *, verify: bool) -> None:
    """Put all payloads of one row into the (empty) sample.

    Costs one range, header blocks between the fields included; one a field where the sample is
    longer than the store finds worth merging.
    """
    offsets, sizes, field_of = shard.offsets, shard.sizes, shard.index.field_of
    members = shard.index.members(row)
    start = min(offsets[member] for member in members)
    length = max(offsets[member] + sizes[member] for member in members) - start
    read, path = shard.store.get_range, shard.path
    if length <= shard.store.merge_limits.max_request_bytes:
        data = read(path, start=start, length=length)
        for member in members:
            begin = offsets[member] - start
            sample[field_of(member)] = data[begin : begin + sizes[member]]
    else:
        starts, lengths = [offsets[member] for member in members], [sizes[member] for member in members]
        for member, payload in zip(members, shard.store.get_ranges(path, starts=starts, lengths=lengths), strict=True):
            sample[field_of(member)] = payload
    shard.store.stats.add_used(sum(map(len, sample.values())))
    if verify:
        for member in members:
            shard.check_payload(member, sample[field_of(member)])


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """Payloads of one shard that are to be read; nothing has been read yet.

    Attributes:
        rows: (n) ascending; repeats are fine.
        columns: (c) of the shard's fields.
        starts, sizes: (p) bytes of each payload there is: row after row, and in each by field. Where
            the shard is dense, p is n * c.
    """

    shard: OpenShard
    rows: npt.NDArray[np.int64]
    columns: list[int]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]

    @property
    def num_bytes(self) -> int:
        return int(self.sizes.sum())


def wanted(shard: OpenShard, rows: npt.NDArray[np.int64], fields: tuple[str, ...] | None) -> Wanted:
    """Return where the payloads of ascending rows lie; fields that no sample here has are passed over."""
    columns = shard.columns_of(fields)
    index = shard.index
    at: Any
    if shard.dense and len(columns) == shard.width and _is_run(rows):
        at = slice(int(rows[0]) * shard.width, (int(rows[-1]) + 1) * shard.width)
    else:
        at = index.pick(rows, columns)[1]
    # As signed numbers: none exceeds 2^63 - 1.
    return Wanted(shard, rows, columns, index.data_offset[at].view(np.int64), index.size[at].view(np.int64))


def _is_run(rows: npt.NDArray[np.int64]) -> bool:
    return int(rows[-1] - rows[0]) == len(rows) - 1 and bool((rows[1:] > rows[:-1]).all())


def gather(what: Wanted, samples: Sequence[Sample], *, verify: bool, streaming: bool = False) -> None:
    """Put payloads into the (empty) samples, one a row, field by field.

    Costs no request for a mapped shard, else one a run of near ranges, all announced to the store
    at once. `streaming` means that the rows are neighbours: one long request then takes them all.
    """
    shard = what.shard
    if not what.columns:  # none of the wanted fields occurs in this shard
        return
    plain = shard.dense and not verify
    streaming = streaming and len(what.columns) == shard.width  # else a long range would read unwanted fields
    if streaming and plain and not shard.has_large_samples() and _is_run(what.rows):
        start, end = int(what.starts.min()), int((what.starts + what.sizes).max())
        if end - start <= STREAM_LIMITS.max_request_bytes:
            data = shard.store.get_range(shard.path, start=start, length=end - start)
            shard.store.stats.add_used(what.num_bytes)
            _slice(data, what, samples, start)
            return
    if shard.map is not None and plain and not streaming:
        _from_map(what, samples)
    else:
        _from_requests(what, samples, verify=verify, limits=_limits(what, streaming=streaming))


def _slice(buffer: Any, what: Wanted, samples: Sequence[Sample], start: int) -> None:
    """Cut the payloads out of a buffer that begins at byte `start` of the shard."""
    begins = (what.starts - start).reshape(len(what.rows), -1)
    ends = begins + what.sizes.reshape(begins.shape)
    columns = [bound.tolist() for pair in zip(begins.T, ends.T, strict=True) for bound in pair]
    names = [what.shard.fields[column] for column in what.columns]
    if len(names) == 2:  # the usual two at once: what lies together is touched together, a tenth faster
        one, two = names
        for sample, a, b, c, d in zip(samples, *columns, strict=True):
            sample[one], sample[two] = buffer[a:b], buffer[c:d]
        return
    for name, begin, end in zip(names, columns[::2], columns[1::2], strict=True):
        for sample, a, b in zip(samples, begin, end, strict=True):
            sample[name] = buffer[a:b]


def _from_map(what: Wanted, samples: Sequence[Sample]) -> None:
    shard = what.shard
    if not shard.store.is_cached(shard.path, int(what.starts[0])):
        # Faults of a cold map come one by one; announced together they overlap.
        first = what.starts.reshape(len(what.rows), -1).min(axis=1)
        lengths = (what.starts + what.sizes).reshape(len(what.rows), -1).max(axis=1) - first
        shard.store.prefetch(shard.path, starts=first.tolist(), lengths=lengths.tolist())
    _slice(shard.map, what, samples, 0)


def gather_far(parts: Sequence[tuple[Wanted, Sequence[Sample]]], *, verify: bool, streaming: bool) -> None:
    """Do what `gather` does, for several shards of a store far away: all requests are under way at once."""
    planned = [_Requests.of(what, _limits(what, streaming=streaming)) for what, _ in parts if what.columns]
    if not planned:
        return
    samples = [rows for what, rows in parts if what.columns]
    fetched = planned[0].what.shard.store.get_many([requests.ranges for requests in planned])
    for requests, buffers, rows in zip(planned, fetched, samples, strict=True):
        requests.deal(buffers, rows, verify=verify)


def _from_requests(what: Wanted, samples: Sequence[Sample], *, verify: bool, limits: MergeLimits) -> None:
    requests = _Requests.of(what, limits)
    ranges = requests.ranges
    buffers = what.shard.store.get_ranges(ranges.path, starts=ranges.starts, lengths=ranges.lengths)
    requests.deal(buffers, samples, verify=verify)


@dataclass(frozen=True, slots=True, eq=False)
class _Requests:
    """The requests for what is wanted of a shard, and which payload is in which of them.

    Attributes:
        owner: (p) the request that holds each payload of `what`.
    """

    what: Wanted
    owner: npt.NDArray[np.int64]
    ranges: Ranges

    @classmethod
    def of(cls, what: Wanted, limits: MergeLimits) -> _Requests:
        plan = coalesce(what.starts, what.sizes, limits=limits)
        return cls(what, plan.owner, Ranges(what.shard.path, plan.starts.tolist(), plan.lengths.tolist()))

    def deal(self, buffers: Sequence[bytes], samples: Sequence[Sample], *, verify: bool) -> None:
        """Put the payloads into the samples, a sample for each row."""
        what, shard = self.what, self.what.shard
        shard.store.stats.add_used(what.num_bytes)
        first, field_of = self.ranges.starts, shard.index.field_of
        rows, members = shard.index.pick(what.rows, what.columns)
        for row, member, start, size, owner in zip(
            rows.tolist(), members.tolist(), what.starts.tolist(), what.sizes.tolist(), self.owner.tolist(), strict=True
        ):
            begin = start - first[owner]
            payload = buffers[owner][begin : begin + size]  # the whole of a bytes object is not copied
            if verify:
                shard.check_payload(member, payload)
            samples[row][field_of(member)] = payload


def _limits(what: Wanted, *, streaming: bool) -> MergeLimits:
    shard, store = what.shard, what.shard.store
    if len(what.columns) != shard.width:  # a gap may be another field: it is not read over
        return MergeLimits(min(FIELD_GAP_BYTES, store.merge_limits.max_gap_bytes), store.merge_limits.max_request_bytes)
    return STREAM_LIMITS if streaming and (store.remote or not shard.has_large_samples()) else store.merge_limits

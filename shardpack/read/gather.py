"""Payloads of one shard into samples: one sample at a time, or many with their reads planned together.

    rows --index columns--> byte ranges --coalesce--> requests --> slices, one a field

Nothing here decides which samples: callers bring rows and empty samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shardpack.plan.coalesce import MergeLimits, coalesce
from shardpack.read.sample import Sample
from shardpack.read.shard import OpenShard

# Streaming takes small samples in long requests. Large ones are read one by one all the same:
# slicing them out of a long buffer would copy each a second time.
STREAM_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=8 << 20)
LARGE_SAMPLE_BYTES = 64 << 10


def read_sample(shard: OpenShard, row: int, sample: Sample, *, verify: bool) -> None:
    """Put all payloads of one row into the (empty) sample.

    Costs one range, header blocks between the fields included; one a field where the sample is
    longer than the store finds worth merging.
    """
    offsets, sizes = shard.offsets, shard.sizes
    cells = range(row * shard.width, (row + 1) * shard.width)
    if not shard.dense:
        cells = [cell for cell in cells if shard.present[cell]]  # type: ignore[assignment]
    start = min(offsets[cell] for cell in cells)
    length = max(offsets[cell] + sizes[cell] for cell in cells) - start
    read, path, width = shard.store.get_range, shard.path, shard.width
    if length <= shard.store.merge_limits.max_request_bytes:
        data = read(path, start=start, length=length)
        for cell in cells:
            begin = offsets[cell] - start
            sample[shard.fields[cell % width]] = data[begin : begin + sizes[cell]]
    else:
        for cell in cells:
            sample[shard.fields[cell % width]] = read(path, start=offsets[cell], length=sizes[cell])
    shard.store.stats.add_used(sum(map(len, sample.values())))
    if verify:
        for cell in cells:
            shard.check_payload(row, cell % width, sample[shard.fields[cell % width]])


def gather(
    shard: OpenShard,
    rows: npt.NDArray[np.int64],
    samples: Sequence[Sample],
    fields: tuple[str, ...] | None,
    *,
    verify: bool,
    streaming: bool = False,
) -> None:
    """Put the payloads of `rows` into the (empty) `samples`, field by field.

    Rows should ascend: neighbours then share a request. Costs no request for a mapped shard,
    else one a run of near ranges, all announced to the store at once. `streaming` means that the
    rows are neighbours: one long request then takes them all.
    """
    columns = shard.columns_of(fields)
    if not columns:  # none of the wanted fields occurs in this shard
        return
    if shard.map is not None and shard.dense and not verify and not streaming:
        _from_map(shard, rows, samples, columns)
    else:
        _from_requests(shard, rows, samples, columns, verify=verify, limits=_limits(shard, streaming=streaming))


def _from_map(shard: OpenShard, rows: npt.NDArray[np.int64], samples: Sequence[Sample], columns: list[int]) -> None:
    mapped = shard.map
    starts = shard.index.data_offset[rows]
    sizes = shard.index.size[rows]
    ends = starts + sizes
    if not shard.store.is_cached(shard.path, int(starts[0, 0])):
        # Faults of a cold map come one by one; announced together they overlap.
        first = starts.min(axis=1)
        shard.store.prefetch(shard.path, starts=first.tolist(), lengths=(ends.max(axis=1) - first).tolist())
    for column in columns:
        field = shard.fields[column]
        for sample, start, end in zip(samples, starts[:, column].tolist(), ends[:, column].tolist(), strict=True):
            sample[field] = mapped[start:end]


def _from_requests(
    shard: OpenShard,
    rows: npt.NDArray[np.int64],
    samples: Sequence[Sample],
    columns: list[int],
    *,
    verify: bool,
    limits: MergeLimits,
) -> None:
    index, width = shard.index, len(columns)
    at = rows if width == shard.width else np.ix_(rows, np.array(columns))
    wanted = np.flatnonzero(index.present[at].reshape(-1))
    starts = index.data_offset[at].reshape(-1)[wanted].astype(np.int64)
    sizes = index.size[at].reshape(-1)[wanted].astype(np.int64)
    plan = coalesce(starts, sizes, limits=limits)
    request_starts, request_lengths = plan.starts.tolist(), plan.lengths.tolist()
    buffers = shard.store.get_ranges(shard.path, starts=request_starts, lengths=request_lengths)
    shard.store.stats.add_used(int(sizes.sum()))
    names = [shard.fields[column] for column in columns]
    for cell, start, size, owner in zip(
        wanted.tolist(), starts.tolist(), sizes.tolist(), plan.owner.tolist(), strict=True
    ):
        begin = start - request_starts[owner]
        payload = buffers[owner][begin : begin + size]  # the whole of a bytes object is not copied
        row = cell // width
        if verify:
            shard.check_payload(int(rows[row]), columns[cell % width], payload)
        samples[row][names[cell % width]] = payload


def _limits(shard: OpenShard, *, streaming: bool) -> MergeLimits:
    if not streaming or shard.info.num_bytes > LARGE_SAMPLE_BYTES * shard.info.num_samples:
        return shard.store.merge_limits
    return STREAM_LIMITS

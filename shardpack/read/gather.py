"""Read many samples of one shard: plan the ranges, read them, hand the payloads out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shardpack.plan.coalesce import MergeLimits, coalesce
from shardpack.read.sample import Sample
from shardpack.read.shard import OpenShard, locate

# Streaming takes small samples in long requests. Large ones are read one by one all the same:
# slicing them out of a long buffer would copy each a second time.
STREAM_LIMITS = MergeLimits(max_gap_bytes=64 << 10, max_request_bytes=8 << 20)
LARGE_SAMPLE_BYTES = 64 << 10


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
    starts, sizes, present = locate(shard, rows, columns)
    if shard.map is not None and not verify and not streaming:
        _from_map(shard, samples, columns, starts, sizes)
    else:
        _from_requests(shard, rows, samples, columns, starts, sizes, present, verify, _limits(shard, streaming))
    if not shard.dense:
        _drop_absent(shard, samples, columns, present)


def _from_map(
    shard: OpenShard,
    samples: Sequence[Sample],
    columns: list[int],
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    mapped, ends = shard.map, starts + sizes
    for i, column in enumerate(columns):
        field = shard.fields[column]
        for sample, start, end in zip(samples, starts[:, i].tolist(), ends[:, i].tolist(), strict=True):
            sample[field] = mapped[start:end]


def _from_requests(
    shard: OpenShard,
    rows: npt.NDArray[np.int64],
    samples: Sequence[Sample],
    columns: list[int],
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    present: npt.NDArray[np.int64],
    verify: bool,
    limits: MergeLimits,
) -> None:
    wanted = np.flatnonzero(present.reshape(-1))
    flat_starts, flat_sizes = starts.reshape(-1)[wanted], sizes.reshape(-1)[wanted]
    plan = coalesce(flat_starts, flat_sizes, limits=limits)
    request_starts, request_lengths = plan.starts.tolist(), plan.lengths.tolist()
    buffers = shard.store.get_ranges(shard.path, starts=request_starts, lengths=request_lengths)
    shard.store.stats.add_used(int(flat_sizes.sum()))
    width = len(columns)
    for cell, start, size, owner in zip(
        wanted.tolist(), flat_starts.tolist(), flat_sizes.tolist(), plan.owner.tolist(), strict=True
    ):
        begin = start - request_starts[owner]
        payload = buffers[owner][begin : begin + size]  # the whole of a bytes object is not copied
        row, column = cell // width, columns[cell % width]
        if verify:
            shard.check_payload(int(rows[row]), column, payload)
        samples[row][shard.fields[column]] = payload


def _limits(shard: OpenShard, streaming: bool) -> MergeLimits:
    if not streaming or shard.info.num_bytes > LARGE_SAMPLE_BYTES * shard.info.num_samples:
        return shard.store.merge_limits
    return STREAM_LIMITS


def _drop_absent(
    shard: OpenShard, samples: Sequence[Sample], columns: list[int], present: npt.NDArray[np.int64]
) -> None:
    for row, i in np.argwhere(present == 0).tolist():
        samples[row].pop(shard.fields[columns[i]], None)

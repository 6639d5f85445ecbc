"""Samples at many positions, over all shards: what `get_many` and the stream stand on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from shardpack.errors import ShardpackError
from shardpack.read.read_plan import Wanted, gather, gather_far, wanted
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import Shards

MAX_SHARDS_AT_ONCE = 128  # planned together, so open together; half of what `Shards` keeps open


def fetch(
    shards: Shards, positions: npt.NDArray[np.int64], fields: tuple[str, ...] | None, *, streaming: bool = False
) -> list[Sample]:
    """Return the samples at `positions`, in that order; reads are sorted and merged within a shard.

    Args:
        shards: Where they are.
        positions: In the whole dataset; repeats are fine.
        fields: Read only these; all of them by default.
        streaming: The positions are neighbours: read them in long ranges.
    """
    order = _ascending(positions)
    return _read(shards, positions, order, _plan(shards, positions, order, fields), streaming=streaming)


def fetch_within(
    shards: Shards,
    positions: npt.NDArray[np.int64],
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool = False,
) -> Iterator[list[Sample]]:
    """Yield the samples at `positions`, in parts that hold at most `max_bytes` of payloads, or a single sample.

    Args:
        shards, positions, fields, streaming: As for `fetch`.
        max_bytes: What a part may hold.
    """
    samples = fetch_small(shards, positions, fields, max_bytes=max_bytes, streaming=streaming)
    if samples is not None:
        yield samples
        return
    half = len(positions) // 2
    for piece in (positions[:half], positions[half:]):
        yield from fetch_within(shards, piece, fields, max_bytes=max_bytes, streaming=streaming)


def fetch_parts(
    shards: Shards,
    positions: npt.NDArray[np.int64],
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool,
) -> Iterator[Iterable[Sample]]:
    """Yield what `fetch_within` does; after an error one by one, so that it comes at the very sample to blame."""
    done = 0
    try:
        for part in fetch_within(shards, positions, fields, max_bytes=max_bytes, streaming=streaming):
            done += len(part)
            yield part
            del part  # before the next one is read
    except ShardpackError:
        rest = positions[done:]
        yield chain.from_iterable(fetch(shards, rest[at : at + 1], fields) for at in range(len(rest)))


def fetch_small(
    shards: Shards,
    positions: npt.NDArray[np.int64],
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool = False,
) -> list[Sample] | None:
    """Return what `fetch` does if it is a single sample, or holds at most `max_bytes` of payloads; else None."""
    order = _ascending(positions)
    ascending = positions if order is None else positions[order]
    if len(list(islice(shards.runs(ascending), MAX_SHARDS_AT_ONCE + 1))) > MAX_SHARDS_AT_ONCE:
        return None
    plan, num_bytes = [], 0
    for part in _plan(shards, positions, order, fields):
        plan.append(part)
        num_bytes += part.num_bytes
        if len(positions) > 1 and num_bytes > max_bytes:
            return None
    return _read(shards, positions, order, plan, streaming=streaming)


def _ascending(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
    """Return what sorts positions; None if they are sorted."""
    return None if (positions[1:] >= positions[:-1]).all() else np.argsort(positions, kind="stable")


def _plan(
    shards: Shards,
    positions: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64] | None,
    fields: tuple[str, ...] | None,
) -> Iterator[Wanted]:
    ascending = positions if order is None else positions[order]
    runs = list(shards.runs(ascending))
    shards.load(number for number, _, _ in runs)
    for number, begin, end in runs:
        shard = shards.get(number)
        yield wanted(shard, ascending[begin:end] - shard.first, fields)


def _read(
    shards: Shards,
    positions: npt.NDArray[np.int64],
    order: npt.NDArray[np.int64] | None,
    plan: Iterable[Wanted],
    *,
    streaming: bool,
) -> list[Sample]:
    samples = [Sample() for _ in range(len(positions))]
    for sample, position in zip(samples, positions.tolist(), strict=True):
        sample.position, sample._key = position, shards  # not the shard: a kept sample must not hold it open
    placed = samples if order is None else [samples[i] for i in order.tolist()]
    begin = 0
    if shards.store.remote:
        parts = []
        for part in plan:
            parts.append((part, placed[begin : begin + len(part.rows)]))
            begin += len(part.rows)
        gather_far(parts, verify=shards.verify, streaming=streaming)
        return samples
    for part in plan:
        end = begin + len(part.rows)
        gather(part, placed[begin:end], verify=shards.verify, streaming=streaming)
        begin = end
        if not (shards.verify or streaming):
            part.shard.count_read(len(part.rows))
    return samples

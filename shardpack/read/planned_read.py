r"""Samples at many positions, read by plan: what `get_many` and streams are built on.

positions --by shard--> read plans --> all requests at once --> payloads in their samples
\--> cut from the shard's map, if it has one
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.read.read_plan import STREAM_LIMITS, ReadPlan, Requests, merge_limits, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader, cut_field, cut_samples
from shardpack.runtime.arrays import Integers

MAX_SHARDS_AT_ONCE = 128  # planned together by a stream


def read_planned(
    cache: ShardCache, positions: Integers, fields: tuple[str, ...] | None, *, streaming: bool = False
) -> list[Sample]:
    """Return the samples at `positions`, in that order; reads are sorted, and merged within a shard.

    Args:
        cache: Opens the shards.
        positions: Positions in the whole dataset; repeats are allowed.
        fields: The fields to read; None for all.
        streaming: The positions are neighbours: read them in long ranges.
    """
    order, ascending = _sorted(positions)
    samples: list[Sample] = []
    for runs in cache.shard_list.groups(ascending):
        samples.extend(_read(cache, ascending, runs, _plan(cache, ascending, runs, fields), streaming=streaming))
    return _in_order(samples, order)


def read_small(
    cache: ShardCache,
    positions: Integers,
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool = False,
) -> list[Sample] | None:
    """Return what `read_planned` does if that is one sample, or at most `max_bytes` of payloads; otherwise None."""
    order, ascending = _sorted(positions)
    runs = list(islice(cache.shard_list.runs(ascending), MAX_SHARDS_AT_ONCE + 1))
    if len(runs) > MAX_SHARDS_AT_ONCE:
        return None
    plans = _plan(cache, ascending, runs, fields)
    if len(positions) > 1 and sum(plan.num_bytes for plan in plans) > max_bytes:
        return None
    return _in_order(_read(cache, ascending, runs, plans, streaming=streaming), order)


def read_parts(
    cache: ShardCache,
    positions: Integers,
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool,
) -> Iterator[Iterable[Sample]]:
    """Yield the samples at `positions` in parts of one sample, or at most `max_bytes` of payloads.

    After an error the samples come one by one, so that it is raised at the sample that caused it.

    Args:
        cache, positions, fields, streaming: As for `read_planned`.
        max_bytes: Upper limit of a part.
    """
    done = 0
    try:
        for part in _read_halves(cache, positions, fields, max_bytes=max_bytes, streaming=streaming):
            done += len(part)
            yield part
            del part  # before the next one is read
    except ShardpackError:
        rest = positions[done:]
        yield chain.from_iterable(read_planned(cache, rest[at : at + 1], fields) for at in range(len(rest)))


def _read_halves(
    cache: ShardCache, positions: Integers, fields: tuple[str, ...] | None, *, max_bytes: int, streaming: bool
) -> Iterator[list[Sample]]:
    samples = read_small(cache, positions, fields, max_bytes=max_bytes, streaming=streaming)
    if samples is not None:
        yield samples
        return
    half = len(positions) // 2
    for piece in (positions[:half], positions[half:]):
        yield from _read_halves(cache, piece, fields, max_bytes=max_bytes, streaming=streaming)


def _sorted(positions: Integers) -> tuple[Integers | None, Integers]:
    """Return the order that sorts positions, None if they are sorted, and the sorted positions."""
    if (positions[1:] >= positions[:-1]).all():
        return None, positions
    order = np.argsort(positions, kind="stable")
    return order, positions[order]


def _in_order(ascending: list[Sample], order: Integers | None) -> list[Sample]:
    """Return samples in the order of their positions before these were sorted."""
    if order is None:
        return ascending
    samples = ascending[:]
    for at, sample in zip(order.tolist(), ascending, strict=True):
        samples[at] = sample
    return samples


# --- Plans -------------------------------------------------------------------------------------


def _plan(
    cache: ShardCache, ascending: Integers, runs: Sequence[tuple[int, int, int]], fields: tuple[str, ...] | None
) -> list[ReadPlan]:
    shards = cache.load(number for number, _, _ in runs)
    return [
        plan_read(shard, ascending[begin:end] - shard.first, fields)
        for shard, (_, begin, end) in zip(shards, runs, strict=True)
    ]


def _read(
    cache: ShardCache,
    ascending: Integers,
    runs: Sequence[tuple[int, int, int]],
    plans: Sequence[ReadPlan],
    *,
    streaming: bool,
) -> list[Sample]:
    """Return the samples of some plans, in order: cut from maps where possible, the others read concurrently."""
    limits = [merge_limits(plan, streaming=streaming) for plan in plans]
    from_map = [
        _is_cut_from_map(plan, merging, verify=cache.verify) for plan, merging in zip(plans, limits, strict=True)
    ]
    wanted = [
        _whole_shard(plan) if mapped else plan.requests(merging)
        for plan, mapped, merging in zip(plans, from_map, limits, strict=True)
    ]
    fetched = iter(
        _fetch(
            [
                (plan.shard, requests)
                for plan, requests, mapped in zip(plans, wanted, from_map, strict=True)
                if not mapped and len(plan.member)
            ]
        )
    )
    samples: list[Sample] = []
    for plan, requests, mapped, (_, begin, end) in zip(plans, wanted, from_map, runs, strict=True):
        if mapped:
            _prefetch(plan)
        buffers = [plan.shard.mapped] if mapped else next(fetched) if len(plan.member) else []
        samples.extend(_cut(plan, requests, buffers, ascending[begin:end].tolist(), verify=cache.verify))
        if not (mapped or cache.verify or streaming):
            cache.count_reads(plan.shard, end - begin)
    return samples


def _is_cut_from_map(plan: ReadPlan, merging: object, *, verify: bool) -> bool:
    """Return whether to cut a plan's samples from the shard's map; long runs are faster in one read than in faults."""
    return plan.shard.mapped is not None and not verify and merging is not STREAM_LIMITS and len(plan.member) > 0


def _prefetch(plan: ReadPlan) -> None:
    """Announce the ranges of a plan unless they are in memory: page faults of a cold map then overlap."""
    shard = plan.shard
    if not shard.store.is_cached(shard.path, int(plan.starts[0])):
        shard.store.prefetch(shard.path, starts=plan.starts.tolist(), lengths=plan.sizes.tolist())


def _whole_shard(plan: ReadPlan) -> Requests:
    """Return the counterpart of requests for a buffer that is the whole shard."""
    return Requests(None, np.zeros(len(plan.starts), np.int64), plan.starts, plan.starts + plan.sizes)


def _fetch(wanted: Sequence[tuple[ShardReader, Requests]]) -> list[list[Any]]:
    """Return the ranges of each shard; those of one store are read concurrently."""
    fetched: list[list[Any]] = [[]] * len(wanted)
    by_store: dict[int, list[int]] = {}
    for at, (shard, _) in enumerate(wanted):
        by_store.setdefault(id(shard.store), []).append(at)
    for numbers in by_store.values():
        store = wanted[numbers[0]][0].store
        ranges = [wanted[at][1].ranges for at in numbers]
        for at, buffers in zip(numbers, store.get_many([one for one in ranges if one is not None]), strict=True):
            fetched[at] = buffers
    return fetched


def _cut(
    plan: ReadPlan, requests: Requests, buffers: Sequence[Any], positions: list[int], *, verify: bool
) -> list[Sample]:
    """Return the samples of a plan, payloads cut out of the buffers that were read."""
    shard = plan.shard
    if buffers and buffers[0] is not shard.mapped:
        shard.store.stats.add_used(plan.num_bytes)
    keys = list(map(shard.keys.key_at, positions))
    if shard.dense and not verify and len(plan.member) == len(positions) * shard.width and len(buffers) == 1:
        bounds = [
            bound[column :: shard.width].tolist()
            for column in range(shard.width)
            for bound in (requests.begins, requests.ends)
        ]
        return list(cut_samples(shard.fields, [buffers[0]] * len(positions), bounds, positions, keys))
    samples = []
    for position, key in zip(positions, keys, strict=True):
        sample = Sample()
        sample.position, sample.stored_key = position, key
        samples.append(sample)
    columns = (plan.owner, plan.member, plan.field, requests.owner, requests.begins, requests.ends)
    for owner, member, field, buffer, begin, end in zip(*(column.tolist() for column in columns), strict=True):
        payload = cut_field(buffers[buffer], begin, end)
        if verify:
            shard.check_payload(member, payload)
        samples[owner][shard.fields[field]] = payload
    return samples

r"""Samples at many positions, over all shards: plans carried out. What `get_many` and the stream stand on.

positions --mapped shards--> cut, no request
\--the rest, by shard--> read plans --> all requests at once --> payloads into their samples
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from shardpack.errors import ShardpackError
from shardpack.read.payload import cut_each, cut_field, cut_samples
from shardpack.read.read_plan import STREAM_LIMITS, ReadPlan, Requests, merge_limits, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers

MAX_SHARDS_AT_ONCE = 128  # planned together by a stream
COLUMN_SAMPLES = 16  # asked for of a mapped shard, on average: from these on numpy finds their bounds faster
MAX_INDEX_BYTES_AT_ONCE = 128 << 20  # of the shards that are planned together


def read_samples(
    shards: ShardCache, positions: Integers, fields: tuple[str, ...] | None, *, streaming: bool = False
) -> list[Sample]:
    """Return the samples at `positions`, in that order; reads are sorted and merged within a shard.

    Args:
        shards: Where they are.
        positions: In the whole dataset; repeats are fine.
        fields: Read only these; all of them by default.
        streaming: The positions are neighbours: read them in long ranges.
    """
    if fields is None and not shards.stores.remote and not streaming:
        return read_listed(shards, positions.tolist(), positions)
    return _read_planned(shards, positions, fields, streaming=streaming)


def _read_planned(
    shards: ShardCache, positions: Integers, fields: tuple[str, ...] | None, *, streaming: bool = False
) -> list[Sample]:
    order = _ascending(positions)
    ascending = positions if order is None else positions[order]
    found: list[Sample] = []
    for runs in groups(shards, ascending):
        found.extend(_read(shards, ascending, runs, _plan(shards, ascending, runs, fields), streaming=streaming))
    if order is None:
        return found
    samples = found[:]
    for at, sample in zip(order.tolist(), found, strict=True):
        samples[at] = sample
    return samples


def read_parts(
    shards: ShardCache,
    positions: Integers,
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool,
) -> Iterator[Iterable[Sample]]:
    """Yield the samples at `positions`, in parts that hold at most `max_bytes` of payloads, or a single sample.

    After an error they come one by one, so that it is raised at the very sample to blame.

    Args:
        shards, positions, fields, streaming: As for `read_samples`.
        max_bytes: What a part may hold.
    """
    done = 0
    try:
        for part in _read_within(shards, positions, fields, max_bytes=max_bytes, streaming=streaming):
            done += len(part)
            yield part
            del part  # before the next one is read
    except ShardpackError:
        rest = positions[done:]
        yield chain.from_iterable(read_samples(shards, rest[at : at + 1], fields) for at in range(len(rest)))


def _read_within(
    shards: ShardCache, positions: Integers, fields: tuple[str, ...] | None, *, max_bytes: int, streaming: bool
) -> Iterator[list[Sample]]:
    samples = read_small(shards, positions, fields, max_bytes=max_bytes, streaming=streaming)
    if samples is not None:
        yield samples
        return
    half = len(positions) // 2
    for piece in (positions[:half], positions[half:]):
        yield from _read_within(shards, piece, fields, max_bytes=max_bytes, streaming=streaming)


def read_small(
    shards: ShardCache,
    positions: Integers,
    fields: tuple[str, ...] | None,
    *,
    max_bytes: int,
    streaming: bool = False,
) -> list[Sample] | None:
    """Return what `read_samples` does if it is a single sample, or holds at most `max_bytes` of payloads; else None."""
    order = _ascending(positions)
    ascending = positions if order is None else positions[order]
    runs = list(islice(shards.runs(ascending), MAX_SHARDS_AT_ONCE + 1))
    if len(runs) > MAX_SHARDS_AT_ONCE:
        return None
    plans = _plan(shards, ascending, runs, fields)
    if len(positions) > 1 and sum(plan.num_bytes for plan in plans) > max_bytes:
        return None
    found = _read(shards, ascending, runs, plans, streaming=streaming)
    if order is None:
        return found
    samples = found[:]
    for at, sample in zip(order.tolist(), found, strict=True):
        samples[at] = sample
    return samples


# Samples by themselves


def read_listed(shards: ShardCache, wanted: list[int], positions: Integers) -> list[Sample]:
    """Return local samples: those of mapped shards cut, what lies alone read alone, the others planned together."""
    _announce(shards, wanted)
    found = shards.open.find_mapped(positions)
    if None not in (different := set(found)):
        for shard in (mapped := cast("set[ShardReader]", different)):
            shard.used = True
        if len(wanted) >= COLUMN_SAMPLES * len(mapped):
            return _cut_by_column(mapped, positions)
        return cut_each(cast("list[ShardReader]", found), wanted)
    samples, rest = [], []
    for at, (reader, adjacent, position) in enumerate(
        zip(found, _with_neighbours(positions).tolist(), wanted, strict=True)
    ):
        if reader is None and adjacent:
            rest.append(at)
            samples.append(Sample())
        else:
            samples.append(shards.read(position) if reader is None else reader.cut(position))
    for at, sample in zip(rest, _read_planned(shards, positions[rest], None) if rest else (), strict=True):
        samples[at] = sample
    return samples


def _cut_by_column(shards: Iterable[ShardReader], positions: Integers) -> list[Sample]:
    """Return samples of few mapped shards, whose bounds are taken out of the columns of each shard all at once."""
    samples: list[Any] = [None] * len(positions)
    for shard in shards:
        rows = positions - shard.first
        own = np.flatnonzero((rows >= 0) & (rows < len(shard)))
        bounds = []
        for column in range(shard.width):
            member = rows[own] * shard.width + column
            begins = shard.index.data_offset[member]
            bounds += [begins.tolist(), (begins + shard.index.size[member]).tolist()]
        count = len(own)
        cut = cut_samples(shard.fields, [shard.map] * count, bounds, positions[own].tolist(), [shard.keys] * count)
        for at, sample in zip(own.tolist(), cut, strict=True):
            samples[at] = sample
    return samples


def _with_neighbours(positions: Integers) -> npt.NDArray[np.bool_]:
    """Return (n) which positions are planned together with others: neighbours, or repeated.

    A plan costs 20 us a shard (2-core VM), as much as many samples read alone.
    """
    order = np.argsort(positions, kind="stable")
    adjacent = np.diff(positions[order]) <= 1
    found = np.zeros(len(positions), bool)
    found[order[1:]] |= adjacent
    found[order[:-1]] |= adjacent
    return found


def _announce(shards: ShardCache, positions: list[int]) -> None:
    """Tell the store what will be read, if a probe says that it is not in memory: faults and reads overlap then."""
    if len(positions) < 2:
        return
    last = positions[-1]
    if _is_cached(shards.at(last), last):
        return
    wanted: dict[int, tuple[ShardReader, list[int], list[int]]] = {}
    for position in positions:
        shard = shards.at(position)
        start, length = shard.extent(position)
        _, starts, lengths = wanted.setdefault(shard.number, (shard, [], []))
        starts.append(start)
        lengths.append(length)
    for shard, starts, lengths in wanted.values():
        shard.store.prefetch(shard.path, starts=starts, lengths=lengths)


def _is_cached(shard: ShardReader, position: int) -> bool:
    return shard.store.is_cached(shard.path, shard.extent(position)[0])


# Plans


def _ascending(positions: Integers) -> Integers | None:
    """Return what sorts positions; None if they are sorted."""
    return None if (positions[1:] >= positions[:-1]).all() else np.argsort(positions, kind="stable")


def groups(shards: ShardCache, ascending: Integers) -> Iterator[list[tuple[int, int, int]]]:
    """Yield runs of positions that share a shard, as many together as may be open at a time: (shard, begin, end)."""
    group: list[tuple[int, int, int]] = []
    num_bytes = 0
    for run in shards.runs(ascending):
        num_bytes += shards.table[run[0]].index_bytes
        if group and num_bytes > MAX_INDEX_BYTES_AT_ONCE:
            yield group
            group, num_bytes = [], shards.table[run[0]].index_bytes
        group.append(run)
    if group:
        yield group


def _plan(
    shards: ShardCache, ascending: Integers, runs: Sequence[tuple[int, int, int]], fields: tuple[str, ...] | None
) -> list[ReadPlan]:
    opened = shards.load(number for number, _, _ in runs)
    return [
        plan_read(shard, ascending[begin:end] - shard.first, fields)
        for shard, (_, begin, end) in zip(opened, runs, strict=True)
    ]


def _read(
    shards: ShardCache,
    ascending: Integers,
    runs: Sequence[tuple[int, int, int]],
    plans: Sequence[ReadPlan],
    *,
    streaming: bool,
) -> list[Sample]:
    """Return the samples of some plans, in order: from maps where there are some, the rest by requests made at once."""
    limits = [merge_limits(plan, streaming=streaming) for plan in plans]
    from_map = [
        _is_cut_from_map(plan, merging, verify=shards.verify) for plan, merging in zip(plans, limits, strict=True)
    ]
    wanted = [
        _whole(plan) if mapped else plan.requests(merging)
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
            _announce_plan(plan)
        buffers = [plan.shard.map] if mapped else next(fetched) if len(plan.member) else []
        samples.extend(_scatter(plan, requests, buffers, ascending[begin:end].tolist(), verify=shards.verify))
        if not (mapped or shards.verify or streaming):
            shards.count_reads(plan.shard, end - begin)
    return samples


def _is_cut_from_map(plan: ReadPlan, merging: object, *, verify: bool) -> bool:
    """Return whether a mapped shard serves a plan; long runs are faster in one read, which the map would fault in."""
    return plan.shard.map is not None and not verify and merging is not STREAM_LIMITS and len(plan.member) > 0


def _announce_plan(plan: ReadPlan) -> None:
    shard = plan.shard
    if not shard.store.is_cached(shard.path, int(plan.starts[0])):
        # Faults of a cold map come one by one; announced together they overlap.
        shard.store.prefetch(shard.path, starts=plan.starts.tolist(), lengths=plan.sizes.tolist())


def _whole(plan: ReadPlan) -> Requests:
    """Return what stands for requests where the buffer is the whole shard."""
    return Requests(None, np.zeros(len(plan.starts), np.int64), plan.starts, plan.starts + plan.sizes)


def _fetch(wanted: Sequence[tuple[ShardReader, Requests]]) -> list[list[Any]]:
    """Return the ranges of each, all of a store read at once."""
    found: list[list[Any]] = [[]] * len(wanted)
    by_store: dict[int, list[int]] = {}
    for at, (shard, _) in enumerate(wanted):
        by_store.setdefault(id(shard.store), []).append(at)
    for numbers in by_store.values():
        store = wanted[numbers[0]][0].store
        ranges = [wanted[at][1].ranges for at in numbers]
        for at, buffers in zip(numbers, store.get_many([one for one in ranges if one is not None]), strict=True):
            found[at] = buffers
    return found


def _scatter(
    plan: ReadPlan, requests: Requests, buffers: Sequence[Any], positions: list[int], *, verify: bool
) -> list[Sample]:
    """Return the samples of a plan, payloads cut out of what was read."""
    shard = plan.shard
    if buffers and buffers[0] is not shard.map:
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

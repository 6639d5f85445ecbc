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
from shardpack.read.read_plan import STREAM_LIMITS, ReadPlan, Requests, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import cut_payloads, cut_samples
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits

MAX_SHARDS_AT_ONCE = 128  # planned together by a stream


class PlannedReader:
    """Reads samples at many positions; reads are sorted, and merged within a shard. Safe in threads."""

    def __init__(self, cache: ShardCache, fields: tuple[str, ...] | None, *, neighbours: bool = False) -> None:
        """Read the samples of a dataset.

        Args:
            cache: Opens the shards.
            fields: The fields to read; None for all.
            neighbours: Whether the positions mostly follow one another: they are then read in long ranges.
        """
        self._cache, self._fields, self._neighbours = cache, fields, neighbours

    def read(self, positions: Integers) -> list[Sample]:
        """Return the samples at positions of the whole dataset, in that order; repeats are allowed."""
        order, ascending = _sorted(positions)
        samples: list[Sample] = []
        for runs in self._cache.shard_list.groups(ascending):
            samples.extend(self._read(ascending, runs, self._plan(ascending, runs)))
        return _in_order(samples, order)

    def read_small(self, positions: Integers, *, max_bytes: int) -> list[Sample] | None:
        """Return what `read` does if that is one sample, or at most `max_bytes` of payloads; otherwise None."""
        order, ascending = _sorted(positions)
        runs = list(islice(self._cache.shard_list.runs(ascending), MAX_SHARDS_AT_ONCE + 1))
        if len(runs) > MAX_SHARDS_AT_ONCE:
            return None
        plans = self._plan(ascending, runs)
        if len(positions) > 1 and sum(plan.num_bytes for plan in plans) > max_bytes:
            return None
        return _in_order(self._read(ascending, runs, plans), order)

    def parts(self, positions: Integers, *, max_bytes: int) -> Iterator[Iterable[Sample]]:
        """Yield the samples at some positions in parts of one sample, or at most `max_bytes` of payloads.

        After an error the samples come one by one, so that it is raised at the sample that caused it.
        """
        done = 0
        try:
            for part in self._halves(positions, max_bytes=max_bytes):
                done += len(part)
                yield part
                del part  # before the next one is read
        except ShardpackError:
            alone, rest = PlannedReader(self._cache, self._fields), positions[done:]
            yield chain.from_iterable(alone.read(rest[at : at + 1]) for at in range(len(rest)))

    def _halves(self, positions: Integers, *, max_bytes: int) -> Iterator[list[Sample]]:
        samples = self.read_small(positions, max_bytes=max_bytes)
        if samples is not None:
            yield samples
            return
        half = len(positions) // 2
        for piece in (positions[:half], positions[half:]):
            yield from self._halves(piece, max_bytes=max_bytes)

    def _plan(self, ascending: Integers, runs: Sequence[tuple[int, int, int]]) -> list[ReadPlan]:
        shards = self._cache.load(number for number, _, _ in runs)
        return [
            plan_read(shard, ascending[begin:end] - shard.first, self._fields)
            for shard, (_, begin, end) in zip(shards, runs, strict=True)
        ]

    def _read(
        self, ascending: Integers, runs: Sequence[tuple[int, int, int]], plans: Sequence[ReadPlan]
    ) -> list[Sample]:
        """Return the samples of some plans, in order: cut from maps where possible, the others read concurrently."""
        verify = self._cache.verify
        limits = [plan.merge_limits(neighbours=self._neighbours) for plan in plans]
        requests = [
            None if _is_cut_from_map(plan, merging, verify=verify) else plan.requests(merging)
            for plan, merging in zip(plans, limits, strict=True)
        ]
        fetched = _fetch(plans, requests)
        samples: list[Sample] = []
        for plan, request, buffers, (_, begin, end) in zip(plans, requests, fetched, runs, strict=True):
            positions = ascending[begin:end].tolist()
            if request is None:
                _prefetch(plan)
                samples.extend(_cut(plan, [plan.shard.mapped], None, plan.starts, positions, verify=False))
                continue
            plan.shard.store.stats.add_used(plan.num_bytes)
            samples.extend(_cut(plan, buffers, request.owner, request.begins, positions, verify=verify))
            if not (verify or self._neighbours):
                self._cache.count_reads(plan.shard, end - begin)
        return samples


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


def _is_cut_from_map(plan: ReadPlan, merging: MergeLimits, *, verify: bool) -> bool:
    """Return whether to cut a plan's samples from the shard's map; long runs are faster in one read than in faults."""
    return plan.shard.mapped is not None and not verify and merging is not STREAM_LIMITS and len(plan.member) > 0


def _prefetch(plan: ReadPlan) -> None:
    """Announce the ranges of a plan unless they are in memory: page faults of a cold map then overlap."""
    shard = plan.shard
    if not shard.store.is_cached(shard.path, int(plan.starts[0])):
        shard.store.prefetch(shard.path, starts=plan.starts.tolist(), lengths=plan.sizes.tolist())


def _fetch(plans: Sequence[ReadPlan], requests: Sequence[Requests | None]) -> list[list[Any]]:
    """Return the ranges that each plan requests, none where that is None; those of one store are read concurrently."""
    fetched: list[list[Any]] = [[] for _ in plans]
    by_store: dict[int, list[int]] = {}
    for at, (plan, request) in enumerate(zip(plans, requests, strict=True)):
        if request is not None and len(plan.member):
            by_store.setdefault(id(plan.shard.store), []).append(at)
    for numbers in by_store.values():
        ranges = [request.ranges for at in numbers if (request := requests[at]) is not None]
        buffers = plans[numbers[0]].shard.store.get_many(ranges)
        for at, own in zip(numbers, buffers, strict=True):
            fetched[at] = own
    return fetched


def _cut(
    plan: ReadPlan,
    buffers: Sequence[Any],
    owner: Integers | None,
    begins: Integers,
    positions: list[int],
    *,
    verify: bool,
) -> list[Sample]:
    """Return the samples of a plan, cut out of buffers.

    Args:
        plan: The plan.
        buffers: What was read, or the map of the shard.
        owner: (p) The number of the buffer that holds each payload; None if there is one buffer.
        begins: (p) Where each payload is in its buffer.
        positions: (n) Positions of the samples.
        verify: Whether to compare payloads with their checksums.
    """
    shard, ends = plan.shard, begins + plan.sizes
    keys = list(map(shard.keys.known_at, positions))
    if shard.dense and not verify and len(plan.member) == len(positions) * shard.width and len(buffers) == 1:
        bounds = [bound[column :: shard.width].tolist() for column in range(shard.width) for bound in (begins, ends)]
        return list(cut_samples(shard.fields, [buffers[0]] * len(positions), bounds, positions, keys))
    holders = [buffers[0]] * len(begins) if owner is None else [buffers[at] for at in owner.tolist()]
    columns = (plan.owner.tolist(), plan.member.tolist(), plan.field.tolist(), holders, begins.tolist(), ends.tolist())
    return cut_payloads(shard, positions, keys, zip(*columns, strict=True), verify=verify)

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
from shardpack.read.fetch import fetch, is_cut_from_map
from shardpack.read.layered_read import LayeredPlan
from shardpack.read.read_plan import ReadPlan, plan_read
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_list import ShardRun
from shardpack.read.shard_reader import cut_payloads, cut_samples
from shardpack.runtime.arrays import Integers

MAX_SHARDS_AT_ONCE = 128  # planned together by a stream


class PlannedReader:
    """Reads samples at many positions; reads are sorted, and merged within a shard. Safe in threads."""

    def __init__(
        self, cache: ShardCache, fields: tuple[str, ...] | None, *, neighbours: bool = False, from_maps: bool = True
    ) -> None:
        """Read the samples of a dataset.

        Args:
            cache: Opens the shards.
            fields: The fields to read; None for all.
            neighbours: Whether the positions mostly follow one another: they are then read in long ranges.
            from_maps: Whether samples may be cut from maps; without, what is missing in a file is an error.
        """
        self._cache, self._fields, self._neighbours, self._from_maps = cache, fields, neighbours, from_maps

    def read(self, positions: Integers) -> list[Sample]:
        """Return the samples at positions of the whole dataset, in that order; repeats are allowed."""
        order, ascending = _sorted(positions)
        samples: list[Sample] = []
        for runs in self._cache.shard_list.groups(ascending):
            samples.extend(self._plan(ascending, runs).read(neighbours=self._neighbours, from_maps=self._from_maps))
        return _in_order(samples, order)

    def read_small(self, positions: Integers, *, max_bytes: int) -> list[Sample] | None:
        """Return what `read` does if that is one sample, or at most `max_bytes` of payloads; otherwise None."""
        order, ascending = _sorted(positions)
        runs = list(islice(self._cache.shard_list.runs(ascending), MAX_SHARDS_AT_ONCE + 1))
        if len(runs) > MAX_SHARDS_AT_ONCE:
            return None
        plan = self._plan(ascending, runs)
        if len(positions) > 1 and plan.num_bytes > max_bytes:
            return None
        return _in_order(plan.read(neighbours=self._neighbours, from_maps=self._from_maps), order)

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
            alone, rest = PlannedReader(self._cache, self._fields, from_maps=False), positions[done:]
            yield chain.from_iterable(alone.read(rest[at : at + 1]) for at in range(len(rest)))

    def _halves(self, positions: Integers, *, max_bytes: int) -> Iterator[list[Sample]]:
        samples = self.read_small(positions, max_bytes=max_bytes)
        if samples is not None:
            yield samples
            return
        half = len(positions) // 2
        for piece in (positions[:half], positions[half:]):
            yield from self._halves(piece, max_bytes=max_bytes)

    def _plan(self, ascending: Integers, runs: Sequence[ShardRun]) -> LayeredPlan | _PlainPlan:
        if self._cache.manifest.layers:
            begin, end = (runs[0].begin, runs[-1].end) if runs else (0, 0)
            own = [ShardRun(run.number, run.begin - begin, run.end - begin) for run in runs]
            return LayeredPlan(self._cache, ascending[begin:end], own, self._fields)
        return _PlainPlan(self._cache, ascending, runs, self._fields)


class _PlainPlan:
    """What to read for some samples of a dataset without layers.

    Attributes:
        num_bytes: Sum of the sizes of all payloads.
    """

    def __init__(
        self,
        cache: ShardCache,
        ascending: Integers,
        runs: Sequence[ShardRun],
        fields: tuple[str, ...] | None,
    ) -> None:
        self._cache, self._ascending, self._runs = cache, ascending, runs
        shards = cache.load(run.number for run in runs)
        self._plans = [
            plan_read(shard, ascending[begin:end] - shard.first, fields)
            for shard, (_, begin, end) in zip(shards, runs, strict=True)
        ]

    @property
    def num_bytes(self) -> int:
        return sum(plan.num_bytes for plan in self._plans)

    def read(self, *, neighbours: bool, from_maps: bool) -> list[Sample]:
        """Return the samples, in order: cut from maps where that is allowed and best, the others read concurrently."""
        verify, plans = self._cache.verify, self._plans
        limits = [plan.merge_limits(neighbours=neighbours) for plan in plans]
        requests = [
            None if from_maps and is_cut_from_map(plan, merging, verify=verify) else plan.requests(merging)
            for plan, merging in zip(plans, limits, strict=True)
        ]
        fetched = fetch(plans, requests)
        samples: list[Sample] = []
        for plan, request, buffers, (_, begin, end) in zip(plans, requests, fetched, self._runs, strict=True):
            positions = self._ascending[begin:end].tolist()
            if request is None:
                samples.extend(_cut(plan, [plan.shard.mapped], None, plan.starts, positions, verify=False))
                continue
            plan.shard.store.stats.add_used(plan.num_bytes)
            samples.extend(_cut(plan, buffers, request.owner, request.begins, positions, verify=verify))
            if not (verify or neighbours):
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

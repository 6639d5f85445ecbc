"""Samples of a base with layers, read by plan: the requests of all of them together.

parts of base and layers --requests--> buffers --sorted by sample, then field--> samples
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shardpack.read.fetch import fetch, is_cut_from_map
from shardpack.read.layered_plan import Part, plan_layered
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_list import ShardRun
from shardpack.runtime.arrays import Integers


class LayeredPlan:
    """What to read for some samples of a base with layers.

    Attributes:
        parts: What to read of each shard.
        num_bytes: Sum of the sizes of all payloads.
    """

    def __init__(
        self,
        cache: ShardCache,
        positions: Integers,
        runs: Sequence[ShardRun],
        fields: tuple[str, ...] | None,
    ) -> None:
        """Plan the reading: opens the indexes of the shards. Arguments as for `plan_layered`."""
        self._positions, self._runs = positions, runs
        self._shards = cache.load(run.number for run in runs)
        self.parts = plan_layered(cache, positions, self._shards, runs, fields)
        self.num_bytes = sum(part.plan.num_bytes for part in self.parts)

    def read(self, *, neighbours: bool, from_maps: bool) -> list[Sample]:
        """Return the samples, in order. Arguments as for `PlannedReader`."""
        holders: list[Any] = []
        read = self._read_parts(neighbours=neighbours, from_maps=from_maps)
        columns = [self._columns(*one, holders) for one in read]
        samples = self._empty()
        if not columns:
            return samples
        names = sorted({field for part in self.parts for field in part.plan.fields})
        rank = np.concatenate([_ranks(part, names) for part in self.parts])
        owner = np.concatenate([part.at[part.plan.owner] for part in self.parts])
        order = np.lexsort((rank, owner))  # (p) payloads by sample, then by field
        holder, begin, end = (np.concatenate(column)[order].tolist() for column in zip(*columns, strict=True))
        fields = map(names.__getitem__, rank[order].tolist())
        for at, field, number, start, stop in zip(owner[order].tolist(), fields, holder, begin, end, strict=True):
            samples[at][field] = holders[number][start:stop]
        self._verify(samples)
        return samples

    def _read_parts(self, *, neighbours: bool, from_maps: bool) -> list[tuple[Part, list[Any], Integers, Integers]]:
        """Return for each part its buffers, and (p) in which of them each payload is, and where it begins there."""
        limits = [part.merge_limits(neighbours=neighbours) for part in self.parts]
        requests = [
            None
            if from_maps and is_cut_from_map(part.plan, merging, verify=part.cache.verify)
            else part.plan.requests(merging)
            for part, merging in zip(self.parts, limits, strict=True)
        ]
        plans = [part.plan for part in self.parts]
        found = []
        for part, request, buffers in zip(self.parts, requests, fetch(plans, requests), strict=True):
            plan = part.plan
            if request is None:
                found.append((part, [plan.shard.mapped], np.zeros(len(plan.starts), np.int64), plan.starts))
                continue
            plan.shard.store.stats.add_used(plan.num_bytes)
            found.append((part, buffers, request.owner, request.begins))
            if not (part.cache.verify or neighbours):
                part.cache.count_reads(plan.shard, len(plan.rows))
        return found

    def _columns(
        self, part: Part, buffers: Sequence[Any], owner: Integers, begins: Integers, holders: list[Any]
    ) -> tuple[Integers, Integers, Integers]:
        """Add buffers to `holders`; return (p) in which of these each payload is, and where it begins and ends."""
        first = len(holders)
        holders.extend(buffers)
        return owner + first, begins, begins + part.plan.sizes

    def _empty(self) -> list[Sample]:
        samples = []
        for shard, (_, begin, end) in zip(self._shards, self._runs, strict=True):
            for position in self._positions[begin:end].tolist():
                sample = Sample()
                sample.stored_position, sample.stored_key = position, shard.keys.known_at(position)
                samples.append(sample)
        return samples

    def _verify(self, samples: Sequence[Sample]) -> None:
        """Compare payloads with their checksums, where that is wanted."""
        for part in self.parts:
            if part.cache.verify:
                shard, names = part.plan.shard, part.plan.shard.fields
                owners = part.at[part.plan.owner].tolist()
                fields = part.plan.field.tolist()
                for at, member, field in zip(owners, part.plan.member.tolist(), fields, strict=True):
                    shard.check_payload(member, samples[at][names[field]])


def _ranks(part: Part, names: Sequence[str]) -> Integers:
    """Return (p) the number of each payload's field in `names`."""
    ranks = np.array([names.index(field) if field in names else -1 for field in part.plan.shard.fields], np.int64)
    return ranks[part.plan.field]

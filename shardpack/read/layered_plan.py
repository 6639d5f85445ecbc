r"""Which payloads to read for some samples, of the base and of each layer; the indexes of their shards are opened.

positions --column of a layer--> the layer's own positions --its shards--> payloads that no later layer has
\--> shards of the base --> the payloads that no layer has
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.naming import key_text
from shardpack.read.opened_shards import opened_shards
from shardpack.read.read_plan import ReadPlan, plan_read
from shardpack.read.shard_cache import Layer, ShardCache
from shardpack.read.shard_list import ShardRun
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What to read of one shard, of the base or of a layer.

    Attributes:
        cache: The shards that it is one of.
        plan: The payloads: those that no later layer has.
        at: (rows of the plan) which of the samples each row belongs to; ascending for the base.
        has_gaps: Whether all that is between the payloads was asked for, and later layers have some of it.
    """

    cache: ShardCache
    plan: ReadPlan
    at: Integers
    has_gaps: bool

    @property
    def reads_gaps(self) -> bool:
        """Whether what later layers have is so small that it may be read with the payloads around it."""
        if not self.has_gaps:
            return False
        plan, shard = self.plan, self.plan.shard
        return 2 * plan.stored_bytes * shard.info.num_samples >= shard.index.end_of_data * len(plan.rows)

    @property
    def is_grid(self) -> bool:
        """Whether each row has each field of the plan."""
        plan = self.plan
        return plan.shard.dense and len(plan.member) == len(plan.rows) * len(plan.fields)

    def merge_limits(self, *, neighbours: bool) -> MergeLimits:
        """Return which ranges are worth merging, as `ReadPlan.merge_limits`."""
        return self.plan.merge_limits(neighbours=neighbours, reads_gaps=self.reads_gaps)


def plan_layered(
    cache: ShardCache,
    positions: Integers,
    shards: Sequence[ShardReader],
    runs: Sequence[ShardRun],
    fields: tuple[str, ...] | None,
) -> list[Part]:
    """Return what to read for some samples, each payload from the last layer that has it; empty plans are left out.

    Args:
        cache: The shards of the base.
        positions: (n) ascending stored positions of the base.
        shards: The shards of the base that hold them.
        runs: For each of these, as `ShardRun`, which of the positions it holds.
        fields: The fields to read; None for all.

    Raises:
        CorruptIndexError: The positions of a layer are damaged.
    """
    taken = _Taken(len(positions))
    parts = []
    for layer in reversed(wanted_layers(cache, fields)):
        own, at = found_in(layer, positions)
        for shard, some in opened_shards(layer.cache, own):
            rows = own[some] - shard.first
            part = taken.without(layer.cache, shard, rows, layer.given(fields), at[some])
            if not layer.positions.is_checked:
                _compare_keys(cache, positions, part)
            taken.add(part)
            parts.append(part)
    for shard, (_, begin, end) in zip(shards, runs, strict=True):
        rows = positions[begin:end] - shard.first
        parts.append(taken.without(cache, shard, rows, fields, np.arange(begin, end)))
    return [part for part in parts if len(part.plan.member)]


def wanted_layers(cache: ShardCache, fields: Iterable[str] | None) -> Sequence[Layer]:
    """Return the layers that give one of the fields, or all layers; those of no use are not opened."""
    if fields is None:
        return cache.layers
    if all(set(fields).isdisjoint(ref.fields) for ref in cache.manifest.layers):
        return ()
    return [layer for layer in cache.layers if not set(fields).isdisjoint(layer.ref.fields)]


def found_in(layer: Layer, positions: Integers) -> tuple[Integers, Integers]:
    """Return (m) the layer's positions of the samples that it has, ascending; and (m) which of `positions` each is."""
    own, at = layer.positions.of(positions), np.arange(len(positions))
    if len(own) and own.min() < 0:
        at = np.flatnonzero(own >= 0)
        own = own[at]
    if (own[1:] < own[:-1]).any():
        order = np.argsort(own, kind="stable")
        own, at = own[order], at[order]
    return own, at


class _Taken:
    """Which payloads of some samples later layers have, by field."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._by_all: set[str] = set()  # fields that later layers have of each sample
        self._by_some: dict[str, npt.NDArray[np.bool_]] = {}  # other fields -> (n) of which samples

    def add(self, part: Part) -> None:
        """Add the payloads of a part."""
        plan = part.plan
        for field in plan.fields:
            if part.is_grid and len(part.at) == self._count:
                self._by_all.add(field)
                continue
            rows = slice(None) if part.is_grid else plan.owner[plan.field == plan.shard.fields.index(field)]
            self._by_some.setdefault(field, np.zeros(self._count, bool))[part.at[rows]] = True

    def without(
        self, cache: ShardCache, shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None, at: Integers
    ) -> Part:
        """Return what to read of some rows of one shard, without what is taken; `at` as in `Part`."""
        asked = shard.fields if fields is None else [field for field in shard.fields if field in fields]
        left: list[str] = []
        partly: dict[str, npt.NDArray[np.bool_]] = {}
        for field in asked:
            if field in self._by_all:
                continue
            if field in self._by_some:
                is_taken = self._by_some[field][at]
                if is_taken.all():
                    continue
                if is_taken.any():
                    partly[field] = is_taken
            left.append(field)
        plan = plan_read(shard, rows, tuple(left))
        if partly:
            plan = _without(plan, partly)
        has_gaps = len(asked) == shard.width and (len(left) < len(asked) or bool(partly))
        return Part(cache, plan, at, has_gaps)


def _without(plan: ReadPlan, taken: Mapping[str, npt.NDArray[np.bool_]]) -> ReadPlan:
    """Return a plan without some payloads: of each field, (rows of the plan) which."""
    number, keep = plan.field, np.ones(len(plan.member), bool)
    for field, of_rows in taken.items():
        mine = np.flatnonzero(number == plan.shard.fields.index(field))
        keep[mine] = ~of_rows[plan.owner[mine]]
    return ReadPlan(
        plan.shard, plan.fields, plan.rows, plan.owner[keep], plan.member[keep], plan.starts[keep], plan.sizes[keep]
    )


def _compare_keys(base: ShardCache, positions: Integers, part: Part) -> None:
    shard = part.plan.shard
    for row, position in zip(part.plan.rows.tolist(), positions[part.at].tolist(), strict=True):
        compare_key(base.at(position), position, shard, shard.first + row)


def compare_key(base: ShardReader, position: int, layer: ShardReader, own: int) -> None:
    """Compare the key of a sample of a layer with that of the base.

    Raises:
        CorruptIndexError: They differ.
    """
    expected, key = base.keys.key_at(position), layer.keys.key_at(own)
    if key != expected:
        raise CorruptIndexError(
            f"positions of a layer are damaged: position {position} has the key {key_text(expected)!r:.80}, and the "
            f"layer's sample {key_text(key)!r:.80}; restore the file, or attach the layer again",
            shard=layer.path,
        )

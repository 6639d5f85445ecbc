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
from shardpack.read.read_plan import ReadPlan, plan_read
from shardpack.read.shard_cache import Layer, ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits

Runs = Sequence[tuple[int, int, int]]  # (shard number, begin, end) of positions that are in one shard
_Taken = dict[str, npt.NDArray[np.bool_] | None]  # field -> (n) whether a later layer has it; None if all have it there


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
    runs: Runs,
    fields: tuple[str, ...] | None,
) -> list[Part]:
    """Return what to read for some samples, each payload from the last layer that has it; empty plans are left out.

    Args:
        cache: The shards of the base.
        positions: (n) ascending stored positions of the base.
        shards: The shards of the base that hold them.
        runs: For each of these, (shard number, begin, end): which of the positions it holds.
        fields: The fields to read; None for all.

    Raises:
        CorruptIndexError: The positions of a layer are damaged.
    """
    taken: _Taken = {}
    parts = []
    for layer in reversed(wanted_layers(cache, fields)):
        own, at = found_in(layer, positions)
        of_layer = list(layer.cache.shard_list.runs(own))
        layer_shards = layer.cache.load(number for number, _, _ in of_layer)
        for shard, (_, begin, end) in zip(layer_shards, of_layer, strict=True):
            planned = _plan(shard, own[begin:end] - shard.first, layer.given(fields), at[begin:end], taken)
            part = Part(layer.cache, *planned)
            if not layer.positions.is_checked:
                _compare_keys(cache, positions, part)
            _take(part, taken, len(positions))
            parts.append(part)
    for shard, (_, begin, end) in zip(shards, runs, strict=True):
        planned = _plan(shard, positions[begin:end] - shard.first, fields, np.arange(begin, end), taken)
        parts.append(Part(cache, *planned))
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


def _plan(
    shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None, at: Integers, taken: _Taken
) -> tuple[ReadPlan, Integers, bool]:
    """Return what to read of one shard, without what is taken: `Part.plan`, `Part.at` and `Part.has_gaps`."""
    asked = shard.fields if fields is None else [field for field in shard.fields if field in fields]
    left: list[str] = []
    partly: dict[str, npt.NDArray[np.bool_]] = {}
    for field in asked:
        if field not in taken:
            left.append(field)
        elif (is_taken := taken[field]) is not None and not (of_rows := is_taken[at]).all():
            left.append(field)
            if of_rows.any():
                partly[field] = of_rows
    plan = plan_read(shard, rows, tuple(left))
    if partly:
        plan = _without(plan, partly)
    return plan, at, len(asked) == shard.width and (len(left) < len(asked) or bool(partly))


def _without(plan: ReadPlan, taken: Mapping[str, npt.NDArray[np.bool_]]) -> ReadPlan:
    """Return a plan without some payloads: of each field, (rows of the plan) which."""
    number, keep = plan.field, np.ones(len(plan.member), bool)
    for field, of_rows in taken.items():
        mine = np.flatnonzero(number == plan.shard.fields.index(field))
        keep[mine] = ~of_rows[plan.owner[mine]]
    return ReadPlan(
        plan.shard, plan.fields, plan.rows, plan.owner[keep], plan.member[keep], plan.starts[keep], plan.sizes[keep]
    )


def _take(part: Part, taken: _Taken, count: int) -> None:
    """Mark the payloads of a part as taken."""
    plan = part.plan
    for field in plan.fields:
        if part.is_grid and len(part.at) == count:
            taken[field] = None
        elif (is_taken := taken.setdefault(field, np.zeros(count, bool))) is not None:
            rows = slice(None) if part.is_grid else plan.owner[plan.field == plan.shard.fields.index(field)]
            is_taken[part.at[rows]] = True


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

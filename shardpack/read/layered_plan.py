r"""Which payloads to read for some samples, of the base and of each layer; the indexes of their shards are opened.

positions --column of a layer--> the layer's own positions --its shards--> payloads that no later layer has
\--> shards of the base --> the payloads that no layer has
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
_Taken = dict[str, npt.NDArray[np.bool_]]  # field -> (n) whether a later layer has it


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What to read of one shard, of the base or of a layer.

    Attributes:
        cache: The shards that it is one of.
        plan: The payloads: those that no later layer has.
        at: (rows of the plan) which of the samples each row belongs to; ascending for the base.
        reads_gaps: Whether what later layers have is so small that it may be read with the payloads around it.
    """

    cache: ShardCache
    plan: ReadPlan
    at: Integers
    reads_gaps: bool

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
    own = layer.positions.of(positions)
    at = np.flatnonzero(own >= 0)
    if len(at) < len(own):
        own = own[at]
    if (own[1:] < own[:-1]).any():
        order = np.argsort(own, kind="stable")
        own, at = own[order], at[order]
    return own, at


def _plan(
    shard: ShardReader, rows: Integers, fields: tuple[str, ...] | None, at: Integers, taken: _Taken
) -> tuple[ReadPlan, Integers, bool]:
    """Return what to read of one shard, without what is taken: `Part.plan`, `Part.at` and `Part.reads_gaps`."""
    asked = shard.fields if fields is None else [field for field in shard.fields if field in fields]
    some = [field for field in asked if field in taken and taken[field][at].any()]
    if not some:
        return plan_read(shard, rows, fields), at, False
    left = tuple(field for field in asked if field not in some or not taken[field][at].all())
    plan = plan_read(shard, rows, left)
    partly = [field for field in some if field in left]
    if partly:
        plan = _without_taken(plan, partly, at, taken)
    mean_bytes = shard.index.end_of_data / shard.info.num_samples
    return plan, at, len(asked) == shard.width and 2 * plan.stored_bytes >= mean_bytes * len(rows)


def _without_taken(plan: ReadPlan, fields: Iterable[str], at: Integers, taken: _Taken) -> ReadPlan:
    """Return a plan without the payloads of some fields that are taken."""
    number, keep = plan.field, np.ones(len(plan.member), bool)
    for field in fields:
        mine = np.flatnonzero(number == plan.shard.fields.index(field))
        keep[mine] = ~taken[field][at[plan.owner[mine]]]
    return ReadPlan(
        plan.shard, plan.fields, plan.rows, plan.owner[keep], plan.member[keep], plan.starts[keep], plan.sizes[keep]
    )


def _take(part: Part, taken: _Taken, count: int) -> None:
    """Mark the payloads of a part as taken."""
    plan = part.plan
    for field in plan.fields:
        is_taken = taken.setdefault(field, np.zeros(count, bool))
        if part.is_grid:
            is_taken[part.at] = True
        else:
            is_taken[part.at[plan.owner[plan.field == plan.shard.fields.index(field)]]] = True


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

r"""Samples of a base with layers, each cut when it is asked for: its payloads are in several buffers.

positions --column of a layer--> the layer's own positions --its mapped shards--\
\--> mapped shards of the base ------------------------------------------------+--> bounds --> samples
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.read.sample import KeySource, Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers, each_of

NO_BUFFER = 0  # number of the buffer of a field that a sample lacks
_SHARD_SAMPLES = 16  # per shard, from which numpy finds bounds faster


def cut_layered(
    fields: Sequence[str],
    buffers: Sequence[Any],
    bounds: Sequence[Integers],
    positions: Sequence[int],
    keys: Iterable[KeySource],
) -> Iterator[Sample]:
    """Yield samples, each cut when it is asked for.

    Args:
        fields: Names of the fields.
        buffers: What holds the payloads; the first is None, for fields that samples lack.
        bounds: (3 * fields, n) number of the buffer, begin and end of the first field, then of the second, and so on.
        positions, keys: (n) of the samples.
    """
    columns: list[Iterable[Any]] = []
    for number, begin, end in zip(bounds[::3], bounds[1::3], bounds[2::3], strict=True):
        columns += [each_of(buffers, number), begin.tolist(), end.tolist()]
    if len(fields) == 2:  # the usual two at once, as `cut_samples` does
        one, two = fields
        for position, key, x, a, b, y, c, d in zip(positions, keys, *columns, strict=True):
            sample = Sample()
            sample.stored_position, sample.stored_key = position, key
            if x is not None:
                sample[one] = x[a:b]
            if y is not None:
                sample[two] = y[c:d]
            yield sample
            del sample
        return
    for position, key, *own in zip(positions, keys, *columns, strict=True):
        sample = Sample()
        sample.stored_position, sample.stored_key = position, key
        for field, buffer, begin, end in zip(fields, own[::3], own[1::3], own[2::3], strict=True):
            if buffer is not None:
                sample[field] = buffer[begin:end]
        yield sample
        del sample


def cut_mapped(cache: ShardCache, positions: Integers) -> Iterator[Sample] | None:
    """Return samples cut from the maps of their shards, each when it is asked for.

    None if a shard is not mapped, or if they are in so many shards that cutting one by one is as fast.

    Args:
        cache: The shards of the base.
        positions: (n) stored positions of the base, in any order.
    """
    if not all(layer.positions.is_checked for layer in cache.layers):
        return None
    of_base = _mapped_groups(cache, positions)
    of_layers = [_mapped_groups(one.cache, one.positions.of(positions), one.left_out) for one in cache.layers]
    groups = [group for found in (of_base, *of_layers) for group in found or ()]
    if of_base is None or None in of_layers or len(groups) * _SHARD_SAMPLES > len(positions):
        return None
    names = sorted({field for group in groups for field in group.fields if field is not None})
    bounds = np.full((3 * len(names), len(positions)), NO_BUFFER, np.int64)
    buffers: list[Any] = [None]
    for group in groups:
        group.enter(names, len(buffers), bounds)
        buffers.append(group.shard.mapped)
    owner = np.empty(len(positions), np.int64)
    for number, group in enumerate(of_base):
        owner[group.at] = number
    keys = each_of([group.shard.keys for group in of_base], owner)
    return cut_layered(names, buffers, list(bounds), positions.tolist(), keys)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """Samples that one shard has, of the base or of a layer.

    Attributes:
        shard: The shard.
        fields: Its fields; None in place of those that it does not give.
        own: (k) positions of the samples in the dataset that has the shard.
        at: (k) which of all samples they are.
    """

    shard: ShardReader
    fields: Sequence[str | None]
    own: Integers
    at: Integers

    def enter(self, names: Sequence[str], buffer: int, bounds: Integers) -> None:
        """Enter where payloads are into (3 * names, n) bounds; `buffer` is the number of the map."""
        shard, first = self.shard, (self.own - self.shard.first) * self.shard.width
        shard.used = True
        for column, field in enumerate(self.fields):
            if field is not None:
                row, member = 3 * names.index(field), first + column
                begins = shard.index.data_offset[member].view(np.int64)
                bounds[row, self.at], bounds[row + 1, self.at] = buffer, begins
                bounds[row + 2, self.at] = begins + shard.index.size[member].view(np.int64)


def _mapped_groups(cache: ShardCache, own: Integers, left_out: Collection[str] = ()) -> list[_Group] | None:
    """Return samples by the mapped shards that have them; None if a shard is not mapped.

    Args:
        cache: The shards.
        own: (n) positions of the samples there; negative where it has none.
        left_out: Fields that it does not give.
    """
    at = np.flatnonzero(own >= 0)
    found = []
    for shard, which in cache.by_position.groups(own[at]):
        if shard is None:
            return None
        fields = [None if field in left_out else field for field in shard.fields]
        found.append(_Group(shard, fields, own[at[which]], at[which]))
    return found

r"""One sample of a base with layers: what `ds[i]` reads.

position --base--> mapped shard --+
   \--column of each layer--> the layer's position --> mapped shard --+--> fields, each cut from the last that has it

Many samples are read by plan (`layered_read.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from shardpack.read.layered_cut import cut_mapped
from shardpack.read.layered_plan import compare_key
from shardpack.read.planned_read import PlannedReader
from shardpack.read.position_table import NoneMapped
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import Layer, ShardCache
from shardpack.read.shard_reader import ShardReader, map_view
from shardpack.runtime.arrays import Integers

_Steps = list[tuple[str, int, int]]  # fields in order: name, number of the shard that has it, its number there


class _Known(NamedTuple):
    """The steps of the last sample of one layer: mostly those of the next one, too."""

    base: tuple[str, ...]
    layer: tuple[str, ...]
    steps: _Steps


class LayeredReader:
    """Reads single samples of a base with layers, as `ShardCache` reads those of a plain dataset. Safe in threads.

    Attributes:
        by_position: Has no shards: no sample is cut without looking into the layers.
    """

    by_position = NoneMapped()

    def __init__(self, cache: ShardCache) -> None:
        self._base = cache
        self._known = _Known((), (), [])

    def read(self, position: int) -> Sample:
        """Return one sample with all of its fields. Costs a range of each store that has some; none of mapped shards.

        Raises:
            DatasetNotFoundError, StaleIndexError: A layer is missing, or has changed.
            CorruptIndexError: The positions of a layer are damaged.
        """
        table, layers = self._base.by_position, self._base.layers  # below: `mapped_at` without the calls
        base = table.mapped[bisect_right(table.bounds, position)]
        if base is not None and len(layers) == 1:
            entries = layers[0].positions.entries
            if entries is not None and position < len(entries) and (entry := entries[position]):
                table = layers[0].cache.by_position
                top = table.mapped[bisect_right(table.bounds, entry - 1)]
                if top is not None:
                    return self._cut_two(base, position, top, entry - 1)
        return self._read_any(position)

    def read_each(self, positions: Integers) -> Iterator[Sample]:
        """Return what `read` does for each position, when it is asked for; all are looked up together if possible."""
        cut = cut_mapped(self._base, positions)
        return map(self.read, positions.tolist()) if cut is None else cut

    def read_views(self, position: int) -> Sample:
        """Return what `read` does with views of maps as payloads, or bytes where shards cannot be mapped."""
        return self.cut(position, views=True)

    def cut(self, position: int, *, views: bool) -> Sample:
        """Return one sample, cut from the maps of its shards, which are mapped if they can be.

        Args:
            position: Its stored position.
            views: Whether payloads are views of the maps, or bytes.
        """
        if not views and self._base.by_position.mapped_at(position) is not None:
            return self.read(position)
        shards, at, left_out = [self._mapped(self._base, position)], [position], [frozenset[str]()]
        for layer, own in self._found(position):
            shards.append(self._mapped(layer.cache, own))
            at.append(own)
            left_out.append(layer.left_out)
        mapped = [shard for shard in shards if shard is not None]
        if len(mapped) < len(shards):
            return self.read(position)
        buffers = [map_view(one.mapped) if views else one.mapped for one in mapped]
        steps = _steps([shard.fields for shard in mapped], left_out)
        sample = Sample()
        sample.stored_position, sample.stored_key = position, mapped[0].keys
        for field, number, column in steps:
            one = mapped[number]
            member = (at[number] - one.first) * one.width + column
            start = one.offsets[member]
            sample[field] = buffers[number][start : start + one.sizes[member]]
        return sample

    def _mapped(self, cache: ShardCache, position: int) -> ShardReader | None:
        """Return the shard that holds a position if samples can be cut from its map."""
        shard = cache.at(position)
        if cache.verify or not shard.dense:
            return None
        shard = cache.map(shard)
        return None if shard.mapped is None else shard

    def _found(self, position: int) -> list[tuple[Layer, int]]:
        """Return the layers that have a sample, with its position there; the last one wins."""
        found = [(layer, layer.positions.at(position)) for layer in self._base.layers]
        found = [(layer, own) for layer, own in found if own >= 0]
        for layer, own in found:
            if not layer.positions.is_checked:
                compare_key(self._base.at(position), position, layer.cache.at(own), own)
        return found

    def _cut_two(self, base: ShardReader, position: int, layer: ShardReader, own: int) -> Sample:
        """Return one sample, cut from mapped shards of base and layer."""
        base.used = layer.used = True
        known = self._known
        if known.base is not base.fields or known.layer is not layer.fields:
            steps = _steps((base.fields, layer.fields), ((), self._base.layers[0].left_out))
            known = self._known = _Known(base.fields, layer.fields, steps)
        sample = Sample()
        sample.stored_position, sample.stored_key = position, base.keys
        base_first, own_first = (position - base.first) * base.width, (own - layer.first) * layer.width
        for field, is_own, column in known.steps:
            if is_own:
                shard, member = layer, own_first + column
            else:
                shard, member = base, base_first + column
            start = shard.offsets[member]
            sample[field] = shard.mapped[start : start + shard.sizes[member]]
        return sample

    def _read_any(self, position: int) -> Sample:
        """Return one sample, however many layers there are, and wherever they are."""
        base, layers = self._base, self._base.layers
        if base.stores.remote or any(layer.cache.stores.remote for layer in layers):
            return PlannedReader(base, None).read(np.array([position], np.int64))[0]
        found = self._found(position)
        payloads: dict[str, Any] = {}
        for layer, own in reversed(found):
            payloads |= layer.cache.read_without(own, {*payloads, *layer.left_out})
        payloads |= base.read_without(position, payloads)
        sample = Sample(sorted(payloads.items()))
        sample.stored_position, sample.stored_key = position, base.at(position).keys.known_at(position)
        return sample


def _steps(names: Sequence[tuple[str, ...]], left_out: Sequence[Collection[str]]) -> _Steps:
    """Return where each field of a sample is.

    Args:
        names: The fields of each shard that has the sample, that of the base first.
        left_out: Which of these fields it does not give.
    """
    last = {
        field: (number, column)
        for number, fields in enumerate(names)
        for column, field in enumerate(fields)
        if field not in left_out[number]
    }
    return [(field, *last[field]) for field in sorted(last)]


def sample_reader(cache: ShardCache) -> ShardCache | LayeredReader:
    """Return what reads single samples of a dataset."""
    return LayeredReader(cache) if cache.manifest.layers else cache

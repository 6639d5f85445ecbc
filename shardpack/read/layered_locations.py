"""Where the fields of samples are stored, those of layers included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from shardpack.read.layered_plan import found_in
from shardpack.read.opened_shards import opened_shards
from shardpack.read.sample import FieldLocation, SampleLocation
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

Elsewhere = Mapping[str, tuple[Store, str]]  # field -> store and name of its shard, where that is not the sample's own

_NOWHERE: Elsewhere = {}


def locate_rows(cache: ShardCache, shard: ShardReader, rows: Integers) -> Iterator[tuple[SampleLocation, Elsewhere]]:
    """Yield where some samples of a shard are stored, and which of their fields are not in this shard.

    Reads the indexes of the layers' shards that hold these samples, fetched together.
    """
    if not cache.manifest.layers:
        for row in rows.tolist():
            yield shard.locate(row), _NOWHERE
        return
    fields: list[dict[str, FieldLocation]] = [{} for _ in rows]
    elsewhere: list[dict[str, tuple[Store, str]]] = [{} for _ in rows]
    for layer in cache.layers:
        own, at = found_in(layer, rows + shard.first)
        for of_layer, some in opened_shards(layer.cache, own):
            for number, position in zip(at[some].tolist(), own[some].tolist(), strict=True):
                found = dict(of_layer.locate(position - of_layer.first).fields)
                for field in layer.left_out.intersection(found):
                    del found[field]
                fields[number].update(found)
                elsewhere[number].update(dict.fromkeys(found, (of_layer.store, of_layer.path)))
    for row, more, places in zip(rows.tolist(), fields, elsewhere, strict=True):
        located = shard.locate(row)
        if more:
            located = replace(located, fields=dict(sorted({**located.fields, **more}.items())))
        yield located, places

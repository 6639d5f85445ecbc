"""What is read of base and layers: each payload once, from the last that has it."""

from __future__ import annotations

import numpy as np

import shardpack
from shardpack.read.layered_plan import plan_layered, wanted_layers
from shardpack.storage.memory import MemoryStore
from tests.read.datasets import numbered
from tests.read.layered import packed_layered

BASE = numbered(10, size=5000)
KEYS = list(BASE)
ONE = {key: {"json": b"1"} for key in KEYS}
TWO = {key: {"json": b"2", "txt": b"3"} for key in KEYS[:4]}
FILES = packed_layered(BASE, ONE, TWO)


def parts_of(positions, fields=None, files=FILES):
    cache = shardpack.open(MemoryStore(files)).stream_input().cache
    shards = cache.load([0])
    return plan_layered(cache, np.array(positions), shards, [(0, 0, len(positions))], fields), cache


def payloads(part):
    """Return (sample, field) of each payload of a part."""
    plan = part.plan
    names = [plan.shard.fields[number] for number in plan.field.tolist()]
    return list(zip(part.at[plan.owner].tolist(), names, strict=True))


def test_each_payload_is_read_once_from_the_last_layer_that_has_it():
    parts, cache = parts_of([2, 3, 4, 5])
    two, one, base = parts
    assert payloads(two) == [(0, "json"), (0, "txt"), (1, "json"), (1, "txt")]
    assert payloads(one) == [(2, "json"), (3, "json")]
    assert payloads(base) == [(at, "bin") for at in range(4)]
    assert [part.cache for part in parts] == [cache.layers[1].cache, cache.layers[0].cache, cache]
    assert two.is_grid
    assert not one.is_grid, "two of its samples are taken"
    assert base.is_grid


def test_small_replaced_fields_are_read_over_and_large_ones_are_not():
    assert parts_of([2, 3, 4])[0][-1].reads_gaps
    larger = packed_layered(BASE, {key: {"bin": b"1"} for key in KEYS})
    (_, base), _ = parts_of([2, 3, 4], files=larger)
    assert payloads(base) == [(at, "json") for at in range(3)]
    assert not base.reads_gaps
    (base,), _ = parts_of([2, 3], ("bin",))
    assert not base.reads_gaps, "nothing else was asked for"


def test_only_layers_with_a_wanted_field_are_opened():
    cache = shardpack.open(MemoryStore(FILES)).stream_input().cache
    assert wanted_layers(cache, ("bin",)) == ()
    assert "layers" not in vars(cache)
    assert wanted_layers(cache, ("txt",)) == [cache.layers[1]]
    assert len(wanted_layers(cache, None)) == 2

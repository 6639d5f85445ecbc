"""A new layer leaves out those before it of which nothing could be seen any more, and no others."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.layer import NewLayer, with_layer
from shardpack.format.next_generation import next_generation
from shardpack.read.open_dataset import load_manifest
from shardpack.storage.memory import MemoryStore
from shardpack.storage.subfolder import subfolder


@pytest.fixture
def store():
    store = MemoryStore({})
    for place in (store, subfolder(store, "a"), subfolder(store, "b")):
        with shardpack.ShardWriter(place) as writer:
            for number in range(4):
                writer.write(f"{number}", {"txt": "x", "cls": 1})
    return store


def attached(store, location, fields, column):
    """Attach a layer, and return the locations of all."""
    base = open_base(store)
    with base.begin("attach", run_digest=f"{location} {fields} {column}") as transaction:
        new = NewLayer(location, load_manifest(subfolder(store, location))[0], fields)
        layers = with_layer(base.of(transaction), new, np.array(column, np.int64))
        manifest, files = next_generation(base.manifest, base.text, layers=layers, base_chain=base.chain())
        transaction.commit(manifest, files)
    return [ref.location for ref in manifest.layers]


@pytest.mark.parametrize(
    ("location", "fields", "column", "left"),
    [
        ("b", ["txt"], [0, 1, 2, 3], ["b"]),
        ("b", ["cls", "txt"], [0, 1, 2, 0], ["b"]),
        ("b", ["txt"], [0, 1, 0, 2], ["a", "b"]),
        ("b", ["cls"], [1, 2, 3, 4], ["a", "b"]),
        ("a", ["txt"], [1, 0, 0, 0], ["a"]),
        ("a", ["cls"], [1, 2, 3, 4], ["a", "a"]),
    ],
)
def test_only_what_nobody_sees_is_left_out(store, location, fields, column, left):
    assert attached(store, "a", ["txt"], [0, 1, 2, 0]) == ["a"]
    assert attached(store, location, fields, column) == left


def test_the_manifest_pins_the_layer(store):
    attached(store, "a", ["txt", "cls"], [0, 1, 2, 0])
    (ref,) = load_manifest(store)[1].layers
    assert (ref.generation, ref.fields) == (1, ("cls", "txt"))
    assert ref.num_bytes == subfolder(store, "a").size(".shardpack/manifests/000001.json")


def test_a_layer_hides_no_field_that_its_samples_lack(tmp_path):
    """Fields that only some samples of the new layer have leave the earlier layer's to the others."""
    for name, samples in {
        "ds": {"x": {"json": 0, "txt": "old"}, "y": {"json": 0, "txt": "old"}},
        "layer": {"x": {"txt": "new"}, "y": {"json": 2, "txt": "new"}},
    }.items():
        with shardpack.ShardWriter(tmp_path / name) as writer:
            for key, fields in samples.items():
                writer.write(key, fields)
    shardpack.relabel(tmp_path / "ds", {"x": 1})
    shardpack.attach(tmp_path / "ds", tmp_path / "layer")
    with shardpack.open(tmp_path / "ds") as ds:
        assert len(ds.manifest.layers) == 2
        assert [(ds[key].decode("json"), ds[key].decode("txt")) for key in "xy"] == [(1, "new"), (2, "new")]

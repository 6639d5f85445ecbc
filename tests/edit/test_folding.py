"""Any edits after one another are what they are in a dict, and packing what is visible makes plain shards of it."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.storage.memory import MemoryStore
from tests.strategies import examples

KEYS = [f"k/{number}" for number in range(8)]
CLASSES = ["cap", "coat"]


class Model:
    """A dataset, and beside it a dict of what is in it."""

    def __init__(self, folder: Path):
        self.folder, self.place = folder, folder / "ds"
        self.samples: dict[str, dict[str, bytes]] = {}
        self.classes = [*CLASSES]
        self.num_layers = 0
        with shardpack.ShardWriter(self.place, max_shard_samples=2, classes=CLASSES) as writer:
            for number, key in enumerate(KEYS[:5]):
                self.samples[key] = {"jpg": key.encode() * 50, "json": b'{"label":%d}' % (number % 2)}
                writer.write(key, self.samples[key])

    def of(self, numbers):
        """Return the keys of some visible samples."""
        keys = list(self.samples)
        return list(dict.fromkeys(keys[number % len(keys)] for number in numbers)) if keys else []

    def delete(self, numbers):
        if keys := self.of(numbers):
            shardpack.delete(self.place, keys)
            for key in keys:
                del self.samples[key]

    def append(self, numbers):
        keys = [KEYS[number] for number in numbers if KEYS[number] not in self.samples]
        if keys := list(dict.fromkeys(keys)):
            new = {key: {"jpg": b"new " + key.encode(), "json": b'{"label":1}'} for key in keys}
            shardpack.append(list(new.items()), self.place)
            self.samples.update(new)

    def relabel(self, numbers):
        if keys := self.of(numbers):
            shardpack.relabel(self.place, {key: {"class": "coat", "n": len(key)} for key in keys})
            for key in keys:
                label = {"label": 1, "class": "coat", "n": len(key)}
                self.samples[key]["json"] = json.dumps(label, separators=(",", ":")).encode()

    def update(self, numbers):
        if keys := self.of(numbers):
            shardpack.relabel(self.place, {key: {"m": [1]} for key in keys}, update=True)
            for key in keys:
                label = {**json.loads(self.samples[key]["json"]), "m": [1]}
                self.samples[key]["json"] = json.dumps(label, separators=(",", ":")).encode()

    def attach(self, numbers):
        if keys := self.of(numbers):
            self.num_layers += 1
            layer = self.folder / f"layer{self.num_layers}"
            with shardpack.ShardWriter(layer, max_shard_samples=2) as writer:
                for key in keys:
                    self.samples[key]["txt"] = f"{self.num_layers} {key}".encode()
                    writer.write(key, {"txt": self.samples[key]["txt"]})
            shardpack.attach(self.place, layer)

    def split(self, numbers):
        if self.samples:
            shardpack.split(self.place, {"train": 0.5, "val": 0.5}, seed=len(numbers), force=True)

    def check(self, place):
        with shardpack.open(place) as ds:
            assert {sample.key: {field: bytes(data) for field, data in sample.items()} for sample in ds} == self.samples
            order = [5, 0, 1, 3]
            items = [number % len(ds) for number in order] if len(ds) else []
            for sample, number in zip(ds.get_many(items), items, strict=True):
                assert dict(ds[number]) == dict(ds[sample.key]) == dict(sample) == self.samples[sample.key]
                assert sample.position == number


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "append", "relabel", "update", "attach", "split"]),
        st.lists(st.integers(0, len(KEYS) - 1), min_size=1, max_size=4),
    ),
    max_size=6,
)


@examples(12)
@given(STEPS)
def test_edits_are_those_of_a_dict(steps):
    folder = Path(tempfile.mkdtemp())
    try:
        model = Model(folder)
        for name, numbers in steps:
            getattr(model, name)(numbers)
            model.check(model.place)
        if model.samples:
            shardpack.pack(model.place, folder / "folded", jobs=1)
            model.check(folder / "folded")
            manifest = shardpack.open(folder / "folded").manifest
            assert (manifest.layers, manifest.deleted, manifest.generation) == ((), (), 1)
        shardpack.copy(model.place, folder / "copy")
        for number in range(1, model.num_layers + 1):
            shutil.rmtree(folder / f"layer{number}")
        model.check(folder / "copy")
    finally:
        shutil.rmtree(folder)


def test_all_edits_in_a_row(tmp_path):
    model = Model(tmp_path)
    for name in ("relabel", "attach", "delete", "append", "update", "split", "attach", "delete", "append"):
        getattr(model, name)([0, 2, 5])
        model.check(model.place)
    splits = shardpack.open(model.place).splits
    assert sum(splits.values()) == len(model.samples)
    shardpack.pack(model.place, tmp_path / "folded", jobs=1)
    assert shardpack.open(tmp_path / "folded").splits == splits
    shardpack.pack(model.place, store := MemoryStore({}), jobs=1)
    model.check(store)

"""Layers are taken off by number or location, also where the file that tells their samples is lost."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.edit.attach import attach
from shardpack.edit.detach import detach
from shardpack.errors import OptionError
from tests.fakes import file_contents

KEYS = [f"k/{number}" for number in range(7)]


def write(place, samples):
    with shardpack.ShardWriter(place, max_shard_samples=3) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)
    return place


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "ds", {key: {"txt": key} for key in KEYS})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (None, "the dataset has: none"),
        (0, "there is no layer 0"),
        ("x", "no layer is at 'x'"),
        (-1, "there is no layer -1"),
    ],
)
def test_detach_names_what_there_is(dataset, layer, message):
    files = file_contents(dataset)
    with pytest.raises(OptionError, match=message):
        detach(dataset, layer)
    assert file_contents(dataset) == files


@pytest.mark.parametrize("damage", [None, b"x"])
@pytest.mark.parametrize("field", ["json", "npy"])
def test_a_layer_whose_positions_are_lost_can_be_detached(tmp_path, field, damage):
    pytest.importorskip("pyarrow")
    out = write(tmp_path / "ds", {key: {"json": {"n": 1}} for key in KEYS})
    shardpack.table(out)
    for name in ("one", "two"):
        keys = KEYS[:3] if name == "one" else KEYS[2:5]
        attach(out, write(tmp_path / name, {key: {field: {"n": 2} if field == "json" else b"n"} for key in keys}))
    for path in (out / ".shardpack").glob("layer-*.index"):
        path.unlink() if damage is None else path.write_bytes(damage)
    lines = []
    detach(out, "../two", announce=lines.append)
    detach(out, "../one", announce=lines.append)
    assert [line.split(",")[0] for line in lines] == (["the label table is dropped"] if field == "json" else [])
    with shardpack.open(out) as ds:
        assert [sample.decode("json") for sample in ds] == [{"n": 1}] * len(KEYS)
        assert bool(ds.manifest.table) is (field == "npy")

"""What is exported to a foreign format and packed again is what it was: keys, payloads byte for byte, labels."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.codecs.encode import encode_field

LIBRARIES = {"hdf5": "h5py", "lmdb": "lmdb", "parquet": "pyarrow"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Return a dataset with two splits, classes, boxes and texts."""
    folder = tmp_path_factory.mktemp("packed") / "out"
    with shardpack.ShardWriter(folder, classes=["cat", "dog"]) as writer:
        for number in range(12):
            pixels = np.full((4, 6, 3), 20 * number, np.uint8)
            labels = {"label": number % 2, "class": ["cat", "dog"][number % 2], "note": f"größer {number}"}
            fields = {"png": encode_field("png", pixels), "json": {**labels, "score": 0.5 * number}}
            writer.write(f"{labels['class']}/{number:02d}", fields)
    return folder


@pytest.mark.parametrize("name", ["tfrecord", "mds", "npz", "lmdb", "hdf5", "parquet"])
def test_samples_come_back(packed, tmp_path, name):
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]} is not installed")
    with shardpack.open(packed) as ds:
        shardpack.export(ds, tmp_path / "foreign", to=name)
        report = shardpack.pack(tmp_path / "foreign", tmp_path / "back", jobs=1, raw="png" if name == "npz" else None)
        assert report.layout == name
        with shardpack.open(tmp_path / "back") as back:
            assert sorted(back.keys()) == sorted(ds.keys())
            for sample in ds.get_many(range(len(ds))):
                again = back[sample.key]
                assert again["png"] == sample["png"]
                assert again.decode("json") == sample.decode("json")


def test_keys_do_not_grow_with_each_round_trip(tmp_path):
    pytest.importorskip("pyarrow")
    with shardpack.ShardWriter(tmp_path / "0") as writer:
        for split in ("train", "val"):
            writer.write(f"{split}/a", {"txt": "one"}, split=split)
    for number in range(2):
        with shardpack.open(tmp_path / f"{number}") as ds:
            shardpack.export(ds, tmp_path / f"parquet-{number}", to="parquet")
        shardpack.pack(tmp_path / f"parquet-{number}", tmp_path / f"{number + 1}", jobs=1)
        with shardpack.open(tmp_path / f"{number + 1}") as again:
            assert (list(again.keys()), again.splits) == (["train/a", "val/a"], {"train": 1, "val": 1})

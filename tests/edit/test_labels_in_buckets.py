"""Labels, layers and splits of a dataset in a bucket: as on a disk, by conditional puts and range reads."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import OptionError, UnknownKeyError

KEYS = [f"k/{number}" for number in range(6)]


@pytest.fixture
def bucket(s3_server):
    pytest.importorskip("obstore")
    return f"s3://{s3_server.new_bucket()}"


@pytest.fixture
def options(s3_server):
    return {"storage_options": s3_server.options()}


@pytest.fixture
def dataset(bucket, options):
    with shardpack.ShardWriter(f"{bucket}/ds", max_shard_samples=4, **options) as writer:
        for number, key in enumerate(KEYS):
            writer.write(key, {"jpg": key.encode() * 100, "json": {"n": number}})
    return f"{bucket}/ds"


def labels_of(place, options, **more):
    with shardpack.open(place, **options, **more) as ds:
        return {sample.key: sample.decode("json") for sample in ds}


def test_labels_are_mended_in_place(dataset, options):
    report = shardpack.relabel(dataset, {"k/1": {"m": 1}, "k/5": {"m": 2}}, update=True, **options)
    assert (report.generation, report.changed) == (2, 2)
    expected = {key: {"n": number} for number, key in enumerate(KEYS)}
    assert labels_of(dataset, options, generation=1) == expected
    assert labels_of(dataset, options) == {**expected, "k/1": {"n": 1, "m": 1}, "k/5": {"n": 5, "m": 2}}
    with shardpack.open(dataset, **options) as ds:
        assert ds["k/1"].decode("json") == {"n": 1, "m": 1}
        assert [sample.decode("json") for sample in ds.get_many(["k/0", "k/5"], fields=["json"])] == [
            {"n": 0},
            {"n": 5, "m": 2},
        ]
    with pytest.raises(UnknownKeyError, match="1 of 1 keys"):
        shardpack.relabel(dataset, {"x": {}}, **options)


def test_a_layer_in_the_same_bucket_is_relative(dataset, bucket, options, tmp_path):
    with shardpack.ShardWriter(f"{bucket}/captions", **options) as writer:
        writer.write("k/2", {"txt": "x"})
    assert shardpack.attach(dataset, f"{bucket}/captions", **options).layer == "../captions"
    with shardpack.open(dataset, **options) as ds:
        assert [set(sample) for sample in ds.get_many([1, 2])] == [{"jpg", "json"}, {"jpg", "json", "txt"}]
    shardpack.copy(dataset, tmp_path / "copy", **options)
    assert shardpack.open(tmp_path / "copy")["k/2"].decode("txt") == "x"
    with pytest.raises(OptionError, match="cannot name the folder"):
        shardpack.attach(dataset, tmp_path / "copy", **options)
    shardpack.detach(dataset, **options)
    with shardpack.open(dataset, **options) as ds:
        assert ds.fields == ("jpg", "json")


def test_splits(dataset, options):
    assert shardpack.split(dataset, {"train": 0.5, "val": 0.5}, stratify="n", **options).splits == {
        "train": 3,
        "val": 3,
    }
    with shardpack.open(dataset, **options) as ds:
        assert len(ds.split("val")) == 3

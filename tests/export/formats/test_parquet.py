"""Parquet: pyarrow reads every byte back, and Hugging Face sees images, class names and splits."""

from __future__ import annotations

import json
import sys

import pytest

import shardpack
from shardpack.errors import OptionError
from tests.export.datasets import CLASSES, dataset, files

parquet = pytest.importorskip("pyarrow.parquet")


def read(path):
    return parquet.read_table(path)


def export(ds, out, **options):
    shardpack.export(ds, out, to="parquet", jobs=1, **options)
    return parquet.read_table(out / "data" / "train-00000-of-00001.parquet")


def test_every_byte_comes_back(pets, tmp_path):
    rows = export(pets, tmp_path / "out").to_pylist()
    assert rows == [
        {
            "__key__": sample.key,
            "image": {"bytes": sample["jpg"], "path": f"{sample.key}.jpg"},
            "label": sample.decode("json")["label"],
        }
        for sample in pets
    ]


def test_the_schema_names_images_and_classes(pets, tmp_path):
    schema = export(pets, tmp_path / "out").schema
    assert json.loads(schema.metadata[b"huggingface"]) == {
        "info": {"features": {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}}
    }


def test_values_have_the_types_of_all_samples(tmp_path):
    labels = [
        {"f": 1, "s": "é", "b": True, "l": [1, 2], "o": {"x": 1, "y": [0.5]}, "m": 1, "n": None, "e": {}, "big": 2**63},
        {"f": 0.5, "l": [], "o": {"x": 2}, "m": "one"},
    ]
    samples = {str(number): {"jpg": b"1", "json": label} for number, label in enumerate(labels)}
    table = export(dataset(tmp_path / "ds", samples), tmp_path / "out")
    assert {field.name: str(field.type) for field in table.schema if field.name not in ("__key__", "image")} == {
        "b": "bool",
        "big": "string",
        "e": "string",
        "f": "double",
        "l": "list<element: int64>",
        "m": "string",
        "n": "string",
        "o": "struct<x: int64, y: list<element: double>>",
        "s": "string",
    }
    first, second = (
        {name: value for name, value in row.items() if name not in ("__key__", "image") and value is not None}
        for row in table.to_pylist()
    )
    assert {name: first[name] for name in ("f", "s", "b", "l", "o", "m", "e", "big")} == {
        "f": 1.0,
        "s": "é",
        "b": True,
        "l": [1, 2],
        "o": {"x": 1, "y": [0.5]},
        "m": "1",
        "e": "{}",
        "big": str(2**63),
    }
    assert second == {"f": 0.5, "l": [], "o": {"x": 2, "y": None}, "m": '"one"'}


def test_other_payloads_are_columns(tmp_path):
    sample = {"0.jpg": b"a", "1.jpg": b"b", "seg.png": b"c", "depth.npy": b"d"}
    table = export(dataset(tmp_path / "ds", {"k": sample, "l": {"0.jpg": b"e"}}), tmp_path / "out")
    assert table.to_pylist() == [
        {
            "__key__": "k",
            "0": {"bytes": b"a", "path": "k.0.jpg"},
            "1": {"bytes": b"b", "path": "k.1.jpg"},
            "depth": b"d",
            "seg": {"bytes": b"c", "path": "k.seg.png"},
        },
        {"__key__": "l", "0": {"bytes": b"e", "path": "l.0.jpg"}, "1": None, "depth": None, "seg": None},
    ]


def test_files_and_row_groups_are_cut(tmp_path):
    ds = dataset(tmp_path / "ds", {f"{i:04d}": {"jpg": b"x" * 10, "cls": 0} for i in range(250)}, per_shard=100)
    shardpack.export(ds, tmp_path / "out", to="parquet", max_file_samples=150, jobs=1)
    names = sorted(files(tmp_path / "out"))
    assert names == ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
    groups = [parquet.ParquetFile(tmp_path / "out" / name).metadata for name in names]
    assert [[one.row_group(i).num_rows for i in range(one.num_row_groups)] for one in groups] == [[100, 50], [100]]
    keys = [key for name in names for key in read(tmp_path / "out" / name)["__key__"].to_pylist()]
    assert keys == [f"{i:04d}" for i in range(250)]


def test_the_same_bytes_for_any_jobs(pets, tmp_path):
    for jobs in (1, 2):
        shardpack.export(pets, tmp_path / str(jobs), to="parquet", max_file_samples=2, jobs=jobs)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_sample_twice_is_two_rows(pets, tmp_path):
    assert export(pets.select([1, 1]), tmp_path / "out")["__key__"].to_pylist() == ["dog/0001"] * 2


def test_a_view_without_images(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"json": {"x": 1}}, "b": {"json": {"x": 2}}})
    assert export(ds.select([1]), tmp_path / "out").to_pylist() == [{"__key__": "b", "x": 2}]


def test_options_of_other_formats_are_refused(pets, tmp_path):
    with pytest.raises(OptionError, match="flat does not apply to parquet"):
        export(pets, tmp_path / "out", flat=True)


def test_without_pyarrow_the_extra_is_named(pets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(shardpack.ShardpackError, match=r'pip install "shardpack\[parquet\]"'):
        shardpack.export(pets, tmp_path / "out", to="parquet")

"""HDF5: h5py reads every payload and value back."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

import shardpack
from shardpack.errors import ExportError, OptionError
from tests.export.datasets import CLASSES, dataset, files

h5py = pytest.importorskip("h5py")


def read(path):
    """Return all columns of a file as lists, and the attributes of those that have any."""
    with h5py.File(path, "r") as file:
        columns = {
            name: [value.tobytes() if isinstance(value, np.ndarray) else value for value in found[:].tolist()]
            if found.dtype.kind != "O" or h5py.check_string_dtype(found.dtype)
            else [value.tobytes() for value in found[:]]
            for name, found in file.items()
        }
        attributes = {name: dict(found.attrs) for name, found in file.items() if found.attrs}
    return columns, attributes


def test_every_byte_comes_back(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="hdf5", jobs=1)
    columns, attributes = read(tmp_path / "out" / "data.h5")
    assert columns == {
        "__key__": [sample.key.encode() for sample in pets],
        "image": [sample["jpg"] for sample in pets],
        "classes": [name.encode() for name in CLASSES],
        "class": [sample.decode("json")["class"].encode() for sample in pets],
        "label": [sample.decode("json")["label"] for sample in pets],
    }
    assert not attributes


def test_values(tmp_path):
    labels = [
        {"i": 1, "f": 0.5, "b": True, "s": "é", "l": [1], "some": 3, "maybe": "x", "none": None, "mixed": 1},
        {"i": 2**60, "f": 2, "b": False, "s": "", "l": [], "mixed": "one"},
    ]
    samples = {str(number): {"jpg": b"1", "json": label} for number, label in enumerate(labels)}
    shardpack.export(dataset(tmp_path / "ds", samples), tmp_path / "out", to="hdf5", jobs=1)
    columns, attributes = read(tmp_path / "out" / "data.h5")
    assert (columns["i"], columns["f"], columns["b"]) == ([1, 2**60], [0.5, 2.0], [True, False])
    assert columns["s"] == ["é".encode(), b""]
    assert columns["maybe"] == [b"x", b""]
    assert columns["none"] == [b"", b""]
    as_json = {name for name, found in attributes.items() if found == {"encoding": "json"}}
    assert as_json == {"l", "some", "mixed"}
    assert {name: [json.loads(text) for text in columns[name]] for name in as_json} == {
        "l": [[1], []],
        "some": [3, None],
        "mixed": [1, "one"],
    }


def test_other_payloads_and_those_that_are_missing(tmp_path):
    samples = {str(i): {"jpg": b"x" * i, **({"seg.png": b"m"} if i == 50 else {})} for i in range(100)}
    shardpack.export(dataset(tmp_path / "ds", samples, per_shard=30), tmp_path / "out", to="hdf5", jobs=1)
    columns, _ = read(tmp_path / "out" / "data.h5")
    assert columns["image"] == [b"x" * i for i in range(100)]
    assert columns["seg"] == [b"m" if i == 50 else b"" for i in range(100)]


def test_several_files_and_the_same_bytes_for_any_jobs(pets, tmp_path):
    for jobs in (1, 2):
        shardpack.export(pets, tmp_path / str(jobs), to="hdf5", max_file_samples=4, jobs=jobs)
    assert sorted(files(tmp_path / "1")) == ["data-00000-of-00002.h5", "data-00001-of-00002.h5"]
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_sample_that_does_not_fit_is_left_out(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"json": {"x": "\0"}}, "b": {"json": {"x": "y"}}})
    with pytest.raises(ExportError, match=r"holds a NUL.*key='a'"):
        shardpack.export(ds, tmp_path / "out", to="hdf5")
    shardpack.export(ds, tmp_path / "two", to="hdf5", on_error="skip")
    assert read(tmp_path / "two" / "data.h5")[0] == {"__key__": [b"b"], "x": [b"y"]}


def test_a_value_called_classes_is_a_column(tmp_path):
    samples = {"a": {"jpg": b"1", "json": {"label": 1, "classes": "cat dog"}}}
    shardpack.export(dataset(tmp_path / "ds", samples, classes=CLASSES), tmp_path / "out", to="hdf5")
    assert read(tmp_path / "out" / "data.h5")[0]["classes"] == [b"cat dog"]


def test_a_field_called_classes_is_a_question(tmp_path):
    samples = {"a": {"jpg": b"1", "json": {"label": 1}, "classes.npy": np.ones(3)}}
    with pytest.raises(OptionError, match=r"dataset 'classes', which holds class names.*--fields"):
        shardpack.export(dataset(tmp_path / "ds", samples, classes=CLASSES), tmp_path / "out", to="hdf5")


def test_a_name_that_is_a_path_is_a_question(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "json": {"a/b": 1}}})
    with pytest.raises(OptionError, match="'a/b', which hdf5 cannot hold"):
        shardpack.export(ds, tmp_path / "out", to="hdf5")
    shardpack.export(ds, tmp_path / "out", to="hdf5", drop=["a/b"])


def test_without_h5py_the_extra_is_named(pets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(shardpack.ShardpackError, match=r'pip install "shardpack\[hdf5\]"'):
        shardpack.export(pets, tmp_path / "out", to="hdf5")

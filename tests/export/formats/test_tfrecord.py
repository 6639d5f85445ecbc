"""TFRecord: our own readers of records and of examples give every value back."""

from __future__ import annotations

import json
import struct

import pytest

import shardpack
from shardpack.errors import DecodeError, ExportError, OptionError
from shardpack.sources.formats.example import decode_example
from shardpack.sources.formats.tfrecord_file import masked_crc32c
from tests.export.datasets import dataset, files


def examples(folder):
    """Return the features of each record of each file, by file."""
    found = {}
    for name, data in sorted(files(folder).items()):
        if not name.endswith(".tfrecord"):
            continue
        found[name], at = [], 0
        while at < len(data):
            length, of_length = struct.unpack_from("<QI", data, at)
            payload = data[at + 12 : at + 12 + length]
            [of_payload] = struct.unpack_from("<I", data, at + 12 + length)
            assert of_length == masked_crc32c(data[at : at + 8])
            assert of_payload == masked_crc32c(payload)
            found[name].append(decode_example(payload))
            at += 16 + length
    return found


def test_every_byte_comes_back(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="tfrecord", max_file_samples=4, jobs=1)
    found = examples(tmp_path / "out")
    assert [(name, len(rows)) for name, rows in found.items()] == [
        ("train-00000-of-00002.tfrecord", 4),
        ("train-00001-of-00002.tfrecord", 2),
    ]
    assert [row for rows in found.values() for row in rows] == [
        {
            "image/encoded": [sample["jpg"]],
            "image/filename": [f"{sample.key}.jpg".encode()],
            "label": [sample.decode("json")["label"]],
            "class": [sample.decode("json")["class"].encode()],
        }
        for sample in pets
    ]


def test_values(tmp_path):
    labels = [
        {"f": 1, "l": [1, 2.5], "b": True, "s": "é", "o": {"x": 1}, "m": 1, "none": None, "t": ["a", "b"]},
        {"f": 0.5, "l": [], "m": "one", "i": 2**62},
    ]
    samples = {str(number): {"seg.png": b"1", "json": label} for number, label in enumerate(labels)}
    shardpack.export(dataset(tmp_path / "ds", samples), tmp_path / "out", to="tfrecord", jobs=1)
    [[first, second]] = examples(tmp_path / "out").values()
    assert first == {
        "__key__": [b"0"],
        "seg": [b"1"],
        "f": [1.0],
        "l": [1.0, 2.5],
        "b": [1],
        "s": ["é".encode()],
        "o": [json.dumps({"x": 1}).encode()],
        "m": [b"1"],
        "t": [b"a", b"b"],
    }
    assert isinstance(first["f"][0], float)
    assert second == {"__key__": [b"1"], "seg": [b"1"], "f": [0.5], "l": [], "m": [b'"one"'], "i": [2**62]}


def test_splits_and_jobs(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for i in range(6):
            writer.write(str(i), {"cls": i}, split="train" if i < 4 else "test")
    ds = shardpack.open(tmp_path / "ds")
    for jobs in (1, 2):
        shardpack.export(ds, tmp_path / str(jobs), to="tfrecord", max_file_samples=2, jobs=jobs)
    assert sorted(files(tmp_path / "1")) == [
        "test-00000-of-00001.tfrecord",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_number_that_does_not_fit_is_named(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"json": {"x": 1e300}}})
    with pytest.raises(DecodeError, match=r"32-bit floats.*key='a'"):
        shardpack.export(ds, tmp_path / "out", to="tfrecord")


def test_a_value_called_like_the_image_is_a_question(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"json": {"image/encoded": 1}}})
    with pytest.raises(OptionError, match=r"leave it out .--drop image/encoded"):
        shardpack.export(ds, tmp_path / "out", to="tfrecord")


@pytest.mark.parametrize("values", [[1.5, None, 2], [1, None, 2], [None]])
def test_a_list_that_holds_null_is_refused(tmp_path, values):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "json": {"p": values}}})
    with pytest.raises(ExportError, match=r"list that holds null.*--drop p.*key='a'"):
        shardpack.export(ds, tmp_path / "out", to="tfrecord", jobs=1)

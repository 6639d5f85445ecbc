"""MDS: read back by the layout, and by MosaicML's own reader where it is installed."""

from __future__ import annotations

import json
import struct
from itertools import pairwise

import pytest

import shardpack
from shardpack.errors import ExportError, OptionError
from tests.export.datasets import dataset, files

SIZES = {"int": 8, "float64": 8}
DECODE = {
    "int": lambda data: struct.unpack("<q", data)[0],
    "float64": lambda data: struct.unpack("<d", data)[0],
    "str": bytes.decode,
    "json": json.loads,
}


def read(folder):
    """Return the samples of a folder, decoded by hand, and the encodings by column."""
    index = json.loads((folder / "index.json").read_text())
    assert index["version"] == 2
    samples, encodings = [], {}
    for shard in index["shards"]:
        data = (folder / shard["raw_data"]["basename"]).read_bytes()
        assert (len(data), shard["zip_data"], shard["hashes"]) == (shard["raw_data"]["bytes"], None, [])
        [count] = struct.unpack_from("<I", data)
        assert count == shard["samples"]
        offsets = struct.unpack_from(f"<{count + 1}I", data, 4)
        config = json.loads(data[4 * (count + 2) : offsets[0]])
        encodings = dict(zip(config["column_names"], config["column_encodings"], strict=True))
        assert config == {name: shard[name] for name in config}
        assert config["column_names"] == sorted(config["column_names"])
        assert config["column_sizes"] == [SIZES.get(one) for one in config["column_encodings"]]
        for start, stop in pairwise(offsets):
            samples.append(decoded(data[start:stop], encodings))
        assert offsets[-1] == len(data)
    return samples, encodings


def decoded(data, encodings):
    free = [name for name, encoding in encodings.items() if encoding not in SIZES]
    lengths = dict(zip(free, struct.unpack_from(f"<{len(free)}I", data), strict=True))
    at, sample = 4 * len(free), {}
    for name, encoding in encodings.items():
        length = SIZES.get(encoding) or lengths[name]
        sample[name] = DECODE.get(encoding, bytes)(data[at : at + length])
        at += length
    assert at == len(data)
    return sample


def test_every_byte_comes_back(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="mds", max_file_samples=4, jobs=1)
    assert sorted(files(tmp_path / "out")) == [
        "index.json",
        "shard.00000.mds",
        "shard.00001.mds",
        "shardpack-classes.yaml",
    ]
    samples, encodings = read(tmp_path / "out")
    assert encodings == {"__key__": "str", "class": "str", "image": "jpeg", "label": "int"}
    assert samples == [{"__key__": sample.key, "image": sample["jpg"], **sample.decode("json")} for sample in pets]


def test_values_and_payloads(tmp_path):
    first = {"jpg": b"j", "seg.png": b"p", "json": {"f": 0.5, "l": [1, {"x": None}], "b": True, "some": "é", "n": None}}
    second = {"png": b"", "json": {"f": 2, "l": [], "b": False}}
    ds = dataset(tmp_path / "ds", {"a": first, "b": second})
    shardpack.export(ds, tmp_path / "out", to="mds", jobs=1)
    samples, encodings = read(tmp_path / "out")
    assert encodings == {
        "__key__": "str",
        "b": "json",
        "f": "float64",
        "image": "bytes",
        "l": "json",
        "n": "json",
        "seg": "bytes",
        "some": "json",
    }
    assert samples == [
        {"__key__": "a", "image": b"j", "seg": b"p", **first["json"]},
        {"__key__": "b", "image": b"", "seg": b"", "some": None, "n": None, **second["json"]},
    ]


def test_the_same_bytes_for_any_jobs(pets, tmp_path):
    for jobs in (1, 2):
        shardpack.export(pets, tmp_path / str(jobs), to="mds", max_file_samples=2, jobs=jobs)
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_a_value_that_is_not_there_after_all_is_named(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"bin": b"1", "json": b"{"}, "b": {"bin": b"1", "json": {"x": 1}}})
    shardpack.export(ds, tmp_path / "out", to="mds", on_error="skip")
    assert read(tmp_path / "out")[0] == [{"__key__": "b", "bin": b"1", "x": 1}]


def test_a_shard_has_a_limit(pets, tmp_path):
    with pytest.raises(OptionError, match="at most 1GiB"):
        shardpack.export(pets, tmp_path / "out", to="mds", max_file_bytes="2GiB")


def test_an_image_that_is_missing_in_an_image_column():
    from shardpack.export.formats.mds import _encoded
    from shardpack.export.table import Row

    with pytest.raises(ExportError, match="holds jpeg images, and the sample has none"):
        _encoded(Row("a", {}, {}), "image", "jpeg")
    with pytest.raises(ExportError, match="of type int, got null"):
        _encoded(Row("a", {}, {}), "x", "int")

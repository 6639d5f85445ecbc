"""Values of HDF5 datasets."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from shardpack.errors import DecodeError
from shardpack.sources.formats.hdf5_file import Stored
from shardpack.sources.formats.hdf5_values import attributes_of, batch_ends, read_rows, read_whole


@pytest.mark.parametrize(
    ("rows", "num_bytes", "chunk", "ends"),
    [
        (10, 10, 1, [(0, 10)]),
        (2000, 2000, 1, [(0, 1024), (1024, 2000)]),
        (10, 10 << 22, 1, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
        (10, 10 << 22, 4, [(0, 4), (4, 8), (8, 10)]),  # whole chunks, although they are more than 8 MiB
        (10, 10 << 26, 4, [(i, i + 1) for i in range(10)]),  # chunks of 256 MiB are not held
        (2000, 2000, 1000, [(0, 1000), (1000, 2000)]),
    ],
)
def test_rows_are_read_in_some_megabytes_and_whole_chunks(rows, num_bytes, chunk, ends):
    assert list(batch_ends([Stored("x", (rows,), "number", num_bytes, chunk)], 0, rows)) == ends


def test_a_start_within_a_chunk_ends_with_it():
    assert list(batch_ends([Stored("x", (10,), "number", 10 << 22, 4)], 3, 9)) == [(3, 4), (4, 8), (8, 9)]


def test_whole_datasets(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["opaque"] = np.void(b"\xff\xd8\0\0")
        file["bytes"] = np.array([1, 2], np.uint8)
        file["text"] = "é"
        file["texts"] = ["a", "b"]
        file["number"] = 3
        file["numbers"] = np.arange(3.0)
        file["record"] = np.array((1, 2.5), [("a", "i4"), ("b", "f8")])
        found = {name: read_whole(file[name], name) for name in file}
    assert found == {
        "opaque": b"\xff\xd8\0\0",
        "bytes": b"\1\2",
        "text": "é".encode(),
        "texts": [b"a", b"b"],
        "number": 3,
        "numbers": [0, 1, 2],
        "record": {"a": 1, "b": 2.5},
    }


def test_texts_that_say_that_they_are_json(tmp_path):
    stored = Stored("x", (3,), "text", 30, 1)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = ['{"a": [1, null]}', "null", '"é"']
        assert read_rows(file["x"], stored, 1, 2) == [b"null"]
        file["x"].attrs["encoding"] = "json"
        assert read_rows(file["x"], stored, 0, 3) == [{"a": [1, None]}, None, "é"]
        file["x"][0] = "{"
        with pytest.raises(DecodeError, match="not JSON"):
            read_rows(file["x"], stored, 0, 1)


def test_attributes_that_labels_can_hold(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name, value in {"n": 3, "s": "é", "v": [1.0, 2.0], "big": np.zeros(65), "none": h5py.Empty("f4")}.items():
            file.attrs[name] = value
        found = attributes_of(file)
    assert {name: np.asarray(value).tolist() for name, value in found.items()} == {"n": 3, "s": "é", "v": [1, 2]}

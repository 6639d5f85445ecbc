"""Values of samples in several HDF5 files."""

from __future__ import annotations

import h5py
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.hdf5_files import HDF5Files, PartOfFile, layout_of, opened
from shardpack.sources.row_source import Unit


def test_parts_are_read_by_columns_rows_and_samples(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["label"] = ["a", "b", "c"]
        file["n"] = [1, 2, 3]
    found = find_files(tmp_path / "t.h5")
    with opened(found, "t.h5") as file:
        (part,) = layout_of(file).parts
    files = HDF5Files(found, (PartOfFile("t.h5", part, Unit("t.h5", 3, 9, "train")),))
    assert list(files.values("label")) == [("train", ["a", "b", "c"])]
    assert [(name, dict(columns())) for name, columns in files.columns(0, 1, 2)] == [
        ("t.h5, row 1", {"label": b"b", "n": 2})
    ]
    assert len(files.draw()) == 3


def test_what_h5py_raises_names_the_file(tmp_path):
    (tmp_path / "t.h5").write_bytes(b"\x89HDF\r\n\x1a\nrubbish")
    with (
        pytest.raises(SourceError, match=r"cannot read t\.h5: .*; copy it again"),
        opened(find_files(tmp_path), "t.h5"),
    ):
        pass

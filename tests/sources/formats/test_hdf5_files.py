"""Values of samples in several HDF5 files."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
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


@pytest.mark.parametrize("kind", ["datasets", "groups"])
def test_empty_datasets_and_groups_take_no_place_of_samples(tmp_path, kind):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for name in ("0001", "0003", "0004"):
            path = f"g/{name}" if kind == "datasets" else f"g/{name}/image"
            file[path] = np.frombuffer(b"\xff\xd8\xff\xe0" + name.encode(), np.uint8)
        if kind == "datasets":
            file["g/0002"] = h5py.Empty("u1")
        else:
            file.create_group("g/0002")
    found = find_files(tmp_path / "t.h5")
    with opened(found, "t.h5") as file:
        (part,) = layout_of(file).parts
    assert part.kind == kind
    files = HDF5Files(found, (PartOfFile("t.h5", part, Unit("t.h5", 3, 9, None)),))
    assert [name[-5:-1] for name, _ in files.columns(0, 0, 3)] == ["0001", "0003", "0004"]
    more = HDF5Files(found, (PartOfFile("t.h5", replace(part, num_rows=4), Unit("t.h5", 4, 9, None)),))
    with pytest.raises(SourceError, match="has 3 samples from '0001' on, expected 4"):
        list(more.columns(0, 0, 4))


def test_what_h5py_raises_names_the_file(tmp_path):
    (tmp_path / "t.h5").write_bytes(b"\x89HDF\r\n\x1a\nrubbish")
    with (
        pytest.raises(SourceError, match=r"cannot read t\.h5: .*; copy it again"),
        opened(find_files(tmp_path), "t.h5"),
    ):
        pass

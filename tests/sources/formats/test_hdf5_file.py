"""What is refused in an HDF5 file, because it leads to other files or has no counterpart."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.hdf5_file import MAX_ROW_BYTES, walk


def paths_in(path):
    with h5py.File(path) as file:
        return [stored.path for stored in walk(file)]


def refused(path, said):
    with pytest.raises(SourceError, match=said):
        paths_in(path)


def test_datasets_are_found_by_hard_links_alone(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w", track_order=True) as file:
        file["b/z"], file["b/y"], file["a"] = 1, 2, 3
        file["again"] = h5py.SoftLink("/b")
        file["nothing"] = h5py.Empty("f4")
    assert paths_in(tmp_path / "t.h5") == ["a", "b/y", "b/z"]


def test_external_links_are_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = 1
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["g/link"] = h5py.ExternalLink("other.h5", "/secret")
    refused(tmp_path / "t.h5", "'g/link' is a link to another file")


def test_external_storage_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("x", (6,), "u1", external=[(str(tmp_path / "secret"), 0, 6)])
    refused(tmp_path / "t.h5", "dataset 'x' is stored in other files")


def test_virtual_datasets_are_refused(tmp_path):
    layout = h5py.VirtualLayout((3,), "i4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_virtual_dataset("v", layout)
    refused(tmp_path / "t.h5", "dataset 'v' is stored in other files")


def test_groups_within_themselves_are_refused(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        inner = file.create_group("a/b")
        inner["a"] = file["a"]
    refused(tmp_path / "t.h5", "group 'a/b/a' contains itself")


def test_filters_that_are_not_installed_are_named(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((2,))
        properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((2,))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT32, space, properties)
    refused(tmp_path / "t.h5", r"dataset 'x' is compressed by filter 32001 \(blosc\)")


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        (np.dtype("c8"), "complex64"),
        (h5py.ref_dtype, "references"),
        (h5py.regionref_dtype, "references"),
        (h5py.vlen_dtype(h5py.string_dtype()), "object"),
        (np.dtype([("a", h5py.vlen_dtype("i4"))]), "lists in its field 'a'"),
    ],
)
def test_types_without_a_counterpart_are_named(tmp_path, dtype, said):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("odd", (2,), dtype)
    refused(tmp_path / "t.h5", f"dataset 'odd' (holds|has).*{said}")


def test_rows_that_would_not_fit_into_memory_are_refused_unread(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("big", (2, MAX_ROW_BYTES + 1), "u1", chunks=(1, 1 << 20))
    refused(tmp_path / "t.h5", "expected at most 1,073,741,824")

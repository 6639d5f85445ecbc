"""Deep Lake datasets, with the package itself as the writer; of version 3 one that it wrote, in `golden/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import shardpack
from shardpack.errors import OptionError, SourceError
from shardpack.runtime import worker
from shardpack.sources.formats import deep_lake
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions
from tests.conftest import make_jpeg
from tests.sources.formats.needs import needs
from tests.sources.formats.tables import open_source, samples_of

writer = needs("deeplake")
pytestmark = pytest.mark.slow  # the package takes seconds to load

GOLDEN = Path(__file__).parent / "golden" / "deep_lake_3"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setattr(worker, "_serving", [True])


def make(path, count=5, *, first=0):
    types = writer.types
    ds = writer.create(str(path))
    ds.add_column("image", types.Image(dtype="uint8", sample_compression="jpg"))
    ds.add_column("label", types.ClassLabel("int32"))
    ds.add_column("caption", types.Text())
    ds.add_column("boxes", types.BoundingBox())
    ds.add_column("vector", types.Embedding(4))
    ds.add_column("mask", types.SegmentMask(sample_compression="lz4"))
    ds.add_column("more", types.Dict())
    ds["label"].metadata["class_names"] = ["cat", "dog"]
    numbers = range(first, first + count)
    ds.append(
        {
            "image": [make_jpeg(seed=i) for i in numbers],
            "label": [i % 2 for i in numbers],
            "caption": [f"number {i}" for i in numbers],
            "boxes": [np.array([[i, 2, 3, 4]], np.float32) for i in numbers],
            "vector": [np.full(4, i, np.float32) for i in numbers],
            "mask": [np.full((3, 4 + i), i, np.uint8) for i in numbers],
            "more": [{"a": i} for i in numbers],
        }
    )
    ds.commit("made")


def test_rows_become_samples(tmp_path):
    make(tmp_path / "ds")
    source = open_source(deep_lake, tmp_path / "ds")
    assert source.classes == ("cat", "dog")
    assert source.sentence.startswith("Deep Lake: 5 rows in 1 dataset; a sample is jpg (image)")
    for i, (key, fields) in enumerate(samples_of(source)):
        assert key == f"{i:06d}"
        assert np.array_equal(fields.pop("mask.npy"), np.full((3, 4 + i), i, np.uint8))
        assert fields == {
            "jpg": make_jpeg(seed=i),
            "json": {
                "label": i % 2,
                "class": ("cat", "dog")[i % 2],
                "caption": f"number {i}",
                "boxes": [[float(i), 2.0, 3.0, 4.0]],
                "vector": [float(i)] * 4,
                "more": {"a": i},
            },
        }


def test_rows_of_a_unit_are_read_from_any_row_on(tmp_path):
    make(tmp_path / "ds")
    source = open_source(deep_lake, tmp_path / "ds")
    assert [row.key for row in source.rows(0, 2, 4)] == ["000002", "000003"]


def test_datasets_in_a_folder_are_splits(tmp_path):
    make(tmp_path / "train", 2)
    make(tmp_path / "val", 2, first=2)
    source = open_source(deep_lake, tmp_path)
    assert [key for key, _ in samples_of(source)] == ["train/000000", "train/000001", "val/000000", "val/000001"]
    assert [unit.split for unit in source.units] == ["train", "val"]


def test_a_dataset_of_version_3_is_read():
    source = open_source(deep_lake, GOLDEN)
    assert source.classes == ("cat", "dog")
    rows = samples_of(source)
    assert [fields["json"] for _, fields in rows] == [
        {"label": i % 2, "class": ("cat", "dog")[i % 2], "caption": f"number {i}"} for i in range(3)
    ]
    assert all(fields["jpg"].startswith(b"\xff\xd8") for _, fields in rows)


def test_raw_pixels_are_a_question(tmp_path):
    ds = writer.create(str(tmp_path / "ds"))
    ds.add_column("image", writer.types.Array("uint8", 3))
    ds.append({"image": [np.full((4, 5, 3), i, np.uint8) for i in range(2)]})
    ds.commit("made")
    with pytest.raises(OptionError, match=r"--raw png"):
        deep_lake.open(find_files(tmp_path / "ds"), FormatOptions())
    ((_, fields), _) = samples_of(open_source(deep_lake, tmp_path / "ds", raw="png"))
    assert list(fields) == ["png"]


def test_a_dataset_that_changes_is_named(tmp_path):
    make(tmp_path / "ds", 2)
    source = open_source(deep_lake, tmp_path / "ds")
    ds = writer.open(str(tmp_path / "ds"))
    ds.append({name.name: [ds[0][name.name]] for name in ds.schema.columns if name.name == "caption"} | _row())
    ds.commit("more")
    with pytest.raises(SourceError, match=r"ds has changed"):
        samples_of(source)


def _row():
    return {
        "image": [make_jpeg(seed=9)],
        "label": [0],
        "boxes": [np.zeros((1, 4), np.float32)],
        "vector": [np.zeros(4, np.float32)],
        "mask": [np.zeros((3, 3), np.uint8)],
        "more": [{}],
    }


def test_damage_that_ends_the_process_of_the_library_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_serving", [])
    make(tmp_path / "ds", 3)
    source = open_source(deep_lake, tmp_path / "ds")
    for path in (tmp_path / "ds").rglob("*"):
        if path.is_file() and "_deeplake_log" not in str(path):
            data = path.read_bytes()
            path.write_bytes(bytes(len(data)))
    with pytest.raises(SourceError, match=r"ds.*copy"):
        samples_of(source)


def test_packed_in_one_command(tmp_path):
    make(tmp_path / "ds")
    shardpack.pack(str(tmp_path / "ds"), str(tmp_path / "out"), jobs=1)
    ds = shardpack.open(str(tmp_path / "out"))
    assert (len(ds), ds.classes) == (5, ("cat", "dog"))
    assert ds[3]["jpg"] == make_jpeg(seed=3)

"""Lance datasets, with the package itself as the writer."""

from __future__ import annotations

import pyarrow as pa
import pytest

from shardpack.errors import SourceError
from shardpack.runtime import worker
from shardpack.sources.formats import lance
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.importer import FormatOptions
from tests.sources.formats.needs import needs
from tests.sources.formats.tables import images, open_source, sample, samples_of

writer = needs("lance")
pytestmark = pytest.mark.slow  # the package takes seconds to load


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    monkeypatch.setattr(worker, "_serving", [True])


def test_images_of_hugging_face_become_samples(tmp_path):
    writer.write_dataset(images(7), str(tmp_path / "t.lance"), max_rows_per_file=3)
    source = open_source(lance, tmp_path / "t.lance")
    assert [(unit.name, unit.num_rows) for unit in source.units] == [
        ("t.lance, fragment 0", 3),
        ("t.lance, fragment 1", 3),
        ("t.lance, fragment 2", 1),
    ]
    rows = samples_of(source)
    assert [fields.pop("depth.npy").shape for _, fields in rows] == [(2, 3)] * 7
    assert rows == [(f"{i:03d}", sample(i)) for i in range(7)]


def test_rows_that_were_deleted_are_not_read_nor_those_that_came_later(tmp_path):
    path = str(tmp_path / "t.lance")
    writer.write_dataset(pa.table({"id": [f"k{i}" for i in range(6)], "n": range(6)}), path)
    writer.dataset(path).delete("n = 2")
    source = open_source(lance, path)
    writer.dataset(path).delete("n = 3")
    assert [key for key, _ in samples_of(source)] == ["k0", "k1", "k3", "k4", "k5"]
    assert [row.key for row in source.rows(0, 1, 3)] == ["k1", "k3"]


def test_datasets_in_a_folder_are_splits(tmp_path):
    for split, first in (("train", 0), ("val", 3)):
        writer.write_dataset(images(2, first=first), str(tmp_path / f"{split}.lance"))
    source = open_source(lance, tmp_path)
    assert [key for key, _ in samples_of(source)] == ["train/000", "train/001", "val/003", "val/004"]


def test_a_damaged_file_is_named(tmp_path):
    writer.write_dataset(images(3), str(tmp_path / "t.lance"))
    (data,) = (tmp_path / "t.lance" / "data").iterdir()
    data.write_bytes(data.read_bytes()[:-300])
    with pytest.raises(SourceError, match=r"t\.lance"):
        samples_of(lance.open(find_files(tmp_path / "t.lance"), FormatOptions()))


def test_blobs_are_refused(tmp_path):
    field = pa.field("video", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    table = pa.table({"video": pa.array([b"x"], pa.large_binary())}, schema=pa.schema([field]))
    writer.write_dataset(table, str(tmp_path / "t.lance"), data_storage_version="2.1")
    with pytest.raises(SourceError, match="column 'video' is stored as blobs"):
        lance.open(find_files(tmp_path / "t.lance"), FormatOptions())

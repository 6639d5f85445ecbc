"""ImageFolder: folders of classes, and a table of labels."""

from __future__ import annotations

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import DuplicateKeyError, ExportError, InvalidKeyError, OptionError
from shardpack.export.formats.folder import cell, class_of
from tests.conftest import make_jpeg
from tests.export.datasets import CLASSES, dataset, files
from tests.format.builders import entry


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_classes_are_folders(pets, tmp_path):
    shardpack.export(pets, tmp_path / "out", to="folder")
    written = files(tmp_path / "out")
    assert {name: data for name, data in written.items() if name.endswith(".jpg")} == {
        f"{sample.key}.jpg": sample["jpg"] for sample in pets
    }
    assert table(tmp_path / "out" / "metadata.csv")[:2] == [
        {"file_name": "cat/0000.jpg", "class": "cat", "label": "0"},
        {"file_name": "dog/0001.jpg", "class": "dog", "label": "1"},
    ]


def test_packing_the_folder_again_gives_the_same_samples(pets, tmp_path):
    shardpack.export(pets, tmp_path / "folder", to="folder")
    (tmp_path / "folder" / "metadata.csv").unlink()
    shardpack.pack(tmp_path / "folder", tmp_path / "again")
    again = shardpack.open(tmp_path / "again")
    assert {sample.key: dict(sample) for sample in again} == {sample.key: dict(sample) for sample in pets}
    assert again.classes == pets.classes


def test_a_key_outside_the_folder_of_its_class_is_put_there(tmp_path):
    samples = {"x/1": {"jpg": b"1", "cls": 1}, "dog": {"jpg": b"2", "cls": 1}, "cat/2": {"png": b"3", "cls": 0}}
    shardpack.export(dataset(tmp_path / "ds", samples, classes=CLASSES), tmp_path / "out", to="folder")
    assert sorted(files(tmp_path / "out")) == [
        "cat/2.png",
        "dog/dog.jpg",
        "dog/x/1.jpg",
        "metadata.csv",
        "shardpack-classes.yaml",
    ]


def test_values_that_are_not_scalars_are_json(tmp_path):
    label = {"boxes": [[1, 2]], "caption": 'a "cat"\nand', "none": None, "score": 0.5, "ok": True}
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "json": label}, "b": {"jpg": b"2", "json": {"caption": "é"}}})
    shardpack.export(ds, tmp_path / "out", to="folder", drop=["ok"])
    first, second = table(tmp_path / "out" / "metadata.csv")
    assert first == {
        "file_name": "a.jpg",
        "boxes": "[[1, 2]]",
        "caption": 'a "cat"\nand',
        "none": "",
        "score": "0.5",
    }
    assert second == {"file_name": "b.jpg", "boxes": "", "caption": "é", "none": "", "score": ""}


def test_a_value_called_like_the_column_of_paths_is_refused(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "json": {"file_name": "x", "n": 1}}})
    with pytest.raises(ExportError, match="--drop file_name"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    shardpack.export(ds, tmp_path / "out", to="folder", drop=["file_name"])
    assert table(tmp_path / "out" / "metadata.csv") == [{"file_name": "a.jpg", "n": "1"}]


def test_what_utf8_cannot_hold_is_refused_or_escaped(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "json": rb'{"t": "\ud800"}'}})
    with pytest.raises(ExportError, match=r"cannot stand in metadata\.csv"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    assert cell(["\ud800"]) == r'["\ud800"]'


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_cells_say_what_the_value_is(value):
    written = cell(value)
    assert written == value if value is None or isinstance(value, str) else json.loads(written) == value


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ({"class": "x"}, "x"),
        ({"label": 1}, "dog"),
        ({"label": 2}, None),
        ({"label": -1}, None),
        ({"label": True}, None),
        ({"label": "1"}, None),
        ({}, None),
    ],
)
def test_the_class_of_a_label(label, expected):
    assert class_of(label, CLASSES) == expected


def test_what_a_folder_cannot_hold_is_refused(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "seg.png": b"2", "txt": "x"}})
    with pytest.raises(OptionError, match=r"folder cannot hold seg.png \(of 1 samples\).*--fields jpg,txt"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    report = shardpack.export(ds, tmp_path / "out", to="folder", fields=["jpg", "txt"])
    assert report.left_out == {"seg.png": 1}
    with pytest.raises(OptionError, match="do not apply to folder"):
        shardpack.export(ds, tmp_path / "two", to="folder", fields=["jpg"], max_file_samples=2)


def test_samples_without_a_class_need_flat(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": make_jpeg(), "json": {"annotations": []}}}, classes=CLASSES)
    with pytest.raises(OptionError, match=r"sample 'a' is in none.*flat=True"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    shardpack.export(ds, tmp_path / "out", to="folder", flat=True)
    assert sorted(files(tmp_path / "out")) == ["a.jpg", "metadata.csv", "shardpack-classes.yaml"]


def test_samples_without_a_class_are_left_out_if_asked_for_the_first_one_too(tmp_path):
    samples = {"a": {"jpg": b"1", "json": {}}, "b": {"jpg": b"2", "json": {"label": 0}}, "c": {"jpg": b"3"}}
    ds = dataset(tmp_path / "ds", samples, classes=CLASSES)
    report = shardpack.export(ds, tmp_path / "out", to="folder", on_error="skip")
    assert [key for key, _ in report.rejected] == ["a", "c"]
    assert report.num_samples == 1


def test_a_class_that_cannot_be_a_folder_is_refused(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"jpg": b"1", "cls": 0}}, classes=["a/b"])
    with pytest.raises(ExportError, match="class 'a/b' cannot be a folder"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    ds = dataset(tmp_path / "up", {"a": {"jpg": b"1", "cls": 0}}, classes=[".."])
    with pytest.raises(InvalidKeyError):
        shardpack.export(ds, tmp_path / "out", to="folder")


def test_keys_never_lead_outside(tmp_path):
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(entry(b"../../evil.jpg", b"payload") + bytes(1024))
    ds = shardpack.open(tmp_path / "tars", index="memory")
    with pytest.raises(InvalidKeyError):
        shardpack.export(ds, tmp_path / "out", to="folder")
    assert not list(tmp_path.rglob("evil*"))


def test_two_samples_that_would_be_one_file_are_refused(tmp_path):
    samples = {"cat/1": {"jpg": b"1", "cls": 0}, "1": {"jpg": b"2", "cls": 0}}
    ds = dataset(tmp_path / "ds", samples, classes=CLASSES)
    with pytest.raises(DuplicateKeyError, match="two samples would be one file"):
        shardpack.export(ds, tmp_path / "out", to="folder")
    assert not (tmp_path / "out").exists()


def test_splits_are_folders_with_tables_of_their_own(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", classes=CLASSES) as writer:
        for key, split in (("train/cat/1", "train"), ("dog/2", "train"), ("val/dog/1", "val"), ("3", "val")):
            writer.write(key, {"jpg": key.encode(), "json": {"label": int("dog" in key)}}, split=split)
    report = shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / "out", to="folder")
    assert report.splits == (("train", 2), ("val", 2))
    assert {name: data for name, data in files(tmp_path / "out").items() if name.endswith("jpg")} == {
        "train/cat/1.jpg": b"train/cat/1",
        "train/dog/2.jpg": b"dog/2",
        "val/dog/1.jpg": b"val/dog/1",
        "val/cat/3.jpg": b"3",
    }
    assert [row["file_name"] for row in table(tmp_path / "out" / "train" / "metadata.csv")] == [
        "cat/1.jpg",
        "dog/2.jpg",
    ]
    assert [row["label"] for row in table(tmp_path / "out" / "val" / "metadata.csv")] == ["1", "0"]


@pytest.mark.parametrize("split", [None, "train"])
def test_samples_that_would_be_one_file_are_told_before_the_work(tmp_path, split):
    with shardpack.ShardWriter(tmp_path / "in", classes=["cat", "dog"]) as writer:
        for key, label in (("a", 0), ("b", 0), ("cat/a", 0), ("cat/b", 1), ("dog/a", 1), ("c", None)):
            values = {} if label is None else {"label": label}
            writer.write(key, {"jpg": make_jpeg(), "json": values}, split=split)
    ds = shardpack.open(tmp_path / "in")
    with pytest.raises(DuplicateKeyError, match=r"one file, 'cat/a.jpg': 'a' and 'cat/a', as .*; pass flat=True"):
        shardpack.export(ds, tmp_path / "out", to="folder", dry_run=True)
    shardpack.export(ds.select(["b", "cat/a", "cat/b", "dog/a"]), tmp_path / "out", to="folder")
    images = {str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/**/*.jpg")}
    assert images == {
        f"{split}/" * bool(split) + name for name in ("cat/b.jpg", "cat/a.jpg", "dog/cat/b.jpg", "dog/a.jpg")
    }

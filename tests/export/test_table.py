"""Samples as rows: columns of payloads and of values."""

from __future__ import annotations

import pytest

from shardpack.errors import ExportError, OptionError
from shardpack.export.contents import survey
from shardpack.export.exporter import ExportOptions
from shardpack.export.survey_labels import survey_labels
from shardpack.export.table import Row, table_of
from shardpack.read.sample import Sample
from shardpack.runtime.progress import no_progress
from tests.export.datasets import CLASSES, dataset


def table(folder, samples, *, classes=None, names_classes=False, **options):
    options = ExportOptions(**options)
    contents = survey(dataset(folder, samples, classes=classes), None, no_progress, named_by=None)
    return table_of(survey_labels(contents, options, 1, no_progress), options, names_classes=names_classes)


def test_columns(tmp_path):
    sample = {"jpg": b"1", "seg.png": b"2", "0.jpg": b"3", "a.npy": b"4", "a.bin": b"5", "label.bin": b"6", "cls": 1}
    made = table(tmp_path / "ds", {"k": sample})
    assert dict(made.payloads) == {
        "seg.png": "seg",
        "0.jpg": "0",
        "a.npy": "a.npy",
        "a.bin": "a.bin",
        "label.bin": "label.bin",
    }
    assert made.payload_columns[0] == "image"
    assert [(name, kind.name) for name, kind in made.types] == [("label", "int")]
    assert made.always == {"label"}


def test_a_field_without_its_kind_may_be_another_field(tmp_path):
    made = table(tmp_path / "ds", {"k": {"x.npy": b"1", "x.png": b"2", "x.npy.gz": b"3"}})
    assert dict(made.payloads) == {name: name for name in ("x.npy", "x.png", "x.npy.gz")}


def test_rows(tmp_path):
    samples = {
        "a": {"jpg": b"1", "json": {"x": [1, "two"], "y": None}},
        "b": {"png": b"2", "seg.png": b"3", "json": {"y": 1}},
        "c": {"json": {"y": 1}},
    }
    made = table(tmp_path / "ds", samples)
    row = made.row_maker()
    encoded = {"json": b'{"x": [1, "two"], "y": null}', "jpg": b"1"}
    sample = Sample(encoded)
    sample.key = "a"
    assert row(sample) == Row("a", {"image": ("jpg", b"1")}, {"x": [1, "two"], "y": None})
    assert row(Sample({"png": b"2", "seg.png": b"3", "json": b"{}"})).payloads == {
        "image": ("png", b"2"),
        "seg": ("seg.png", b"3"),
    }
    assert row(Sample({"json": b"{}"})) == Row("", {}, {})
    with pytest.raises(ExportError, match="expected one image"):
        row(Sample(jpg=b"", png=b""))


def test_class_names_stand_for_classes(tmp_path):
    samples = {"a": {"json": {"label": 1, "class": "dog"}}}
    with_names = table(tmp_path / "a", samples, classes=CLASSES, names_classes=True)
    assert (with_names.classes, [name for name, _ in with_names.types]) == (CLASSES, ["label"])
    without = table(tmp_path / "b", samples, classes=CLASSES)
    assert (without.classes, [name for name, _ in without.types]) == (None, ["class", "label"])


def test_a_value_called_like_a_column_is_a_question(tmp_path):
    samples = {"a": {"jpg": b"1", "json": {"image": "x"}}}
    with pytest.raises(OptionError, match=r"called 'image', like a column; leave it out \(--drop image\)"):
        table(tmp_path / "a", samples)
    assert table(tmp_path / "b", samples, drop=("image",)).types == ()


def test_a_key_that_is_not_utf_8_does_not_fit(tmp_path):
    row = table(tmp_path / "a", {"a": {"jpg": b"1"}}).row_maker()
    sample = Sample(jpg=b"1")
    sample.key = "\udcff"
    with pytest.raises(ExportError, match="not UTF-8"):
        row(sample)
    sample.key = "é"
    assert row(sample).key == "é"


def test_its_repr_tells_all(tmp_path):
    samples = {"a": {"jpg": b"1", "json": {"x": 1, "y": 2, "z": 3}}}
    assert repr(table(tmp_path / "a", samples)) == repr(table(tmp_path / "b", samples))
    assert repr(table(tmp_path / "c", samples, drop=("x",))) != repr(table(tmp_path / "d", samples))

"""All labels are read once: their types, how many samples have each value, and whether class names are right."""

from __future__ import annotations

import pytest

from shardpack.errors import DecodeError
from shardpack.export import survey_labels as module
from shardpack.export.contents import survey
from shardpack.export.exporter import ExportOptions, Limits
from shardpack.export.survey_labels import survey_labels
from shardpack.runtime.progress import no_progress
from tests.export.datasets import CLASSES, dataset


def look(ds, *, jobs=1, progress=no_progress, **options):
    contents = survey(ds, None, no_progress, named_by=None)
    return survey_labels(contents, ExportOptions(**options), jobs, progress).labels


def names(labels):
    return {name: kind.name for name, kind in labels.types.items()}


def test_types_and_counts(tmp_path, monkeypatch):
    samples = {
        "a": {"json": {"score": 1, "x": "y"}, "txt": "t"},
        "b": {"json": {"score": 0.5, "x": None}},
        "c": {"bin": b"1"},
    }
    monkeypatch.setattr(module, "_RUN", Limits(1 << 20, 1))
    ds, told = dataset(tmp_path / "ds", samples), []
    for jobs in (1, 2):
        labels = look(ds, jobs=jobs, progress=lambda *one: told.append(one))
        assert names(labels) == {"score": "float", "txt": "str", "x": "str"}
        assert labels.counts == {"score": 2, "txt": 1, "x": 1}
    assert told[-1] == ("labels", 3, 3)
    without = look(ds, drop=("score", "txt", "none"))
    assert names(without) == {"x": "str"}
    assert without.dropped == {"score", "txt"}


def test_samples_without_labels(tmp_path):
    assert look(dataset(tmp_path / "ds", {"a": {"bin": b"1"}})).types == {}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([{"label": 0, "class": "cat"}, {"label": 1}], True),
        ([{"label": -1}, {"label": 1}, {}], True),
        ([{"label": 0, "class": "dog"}], False),
        ([{"label": 2}], False),
        ([{"label": -1, "class": "cat"}], False),
        ([{"class": "cat"}], False),
        ([{"label": True}], False),
        ([{"label": "cat"}], False),
        ([{}], False),
    ],
)
def test_class_names_are_used_where_they_are_right(tmp_path, labels, expected):
    samples = {str(number): {"json": label} for number, label in enumerate(labels)}
    assert look(dataset(tmp_path / "ds", samples, classes=CLASSES)).has_classes is expected
    assert look(dataset(tmp_path / "none", samples)).has_classes is False


def test_a_label_that_cannot_be_read_is_named_or_skipped(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {"json": b"{"}, "b": {"json": {"x": 1}}})
    with pytest.raises(DecodeError, match=r"field 'json'.*key='a'"):
        look(ds)
    assert look(ds, on_error="skip").counts == {"x": 1}

"""Datasets and views are what exports take, and all formats are what they call for."""

from __future__ import annotations

import pickle

import pytest

import shardpack
from shardpack.export.exporter import Exportable
from shardpack.export.formats import EXPORTERS
from shardpack.export.run import exporter_named


def test_datasets_and_views_can_be_exported(pets):
    assert isinstance(pets, Exportable)
    assert isinstance(pets.select([1]), Exportable)
    assert not isinstance(pets.stream(), Exportable)


@pytest.mark.parametrize("name", EXPORTERS)
def test_each_name_has_an_exporter(name):
    exporter = exporter_named(name)
    assert exporter.takes <= {"pattern", "flat", "task", "hashes"}
    assert hasattr(exporter, "prepare") != hasattr(exporter, "of")


def test_reports_pickle():
    report = shardpack.ExportReport("out", "folder", 1, 2)
    assert pickle.loads(pickle.dumps(report)) == report

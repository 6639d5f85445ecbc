"""Rows of the label table: those of the samples, in their order; and patches."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import file_path
from shardpack.inspect.verify_table import verify_table
from shardpack.storage.local import LocalStore
from tests import edits
from tests.read.datasets import numbered, write

pytest.importorskip("pyarrow")


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path, {key: {**fields, "json": b"{}"} for key, fields in numbered(6).items()}, max_shard_samples=3)
    edits.deleted(tmp_path, 2)
    shardpack.table(tmp_path)
    return tmp_path


def problems(dataset, manifest=None, hashes=None):
    found = verify_table(LocalStore(str(dataset)), manifest or edits.newest(dataset), hashes)
    return [(one.kind, one.command) for one in found], [one.message for one in found]


def test_a_good_table(dataset):
    assert problems(dataset, hashes=hash_keys(numbered(6)))[0] == []
    assert shardpack.verify(dataset).ok


def test_rows_of_other_samples(dataset):
    assert problems(dataset, hashes=hash_keys([*list(numbered(6))[:5], "other"]))[0] == [("table", "table --force")]


def test_rows_that_are_missing(dataset):
    manifest = edits.newest(dataset)
    shorter = replace(manifest.table[0], num_samples=5)
    assert problems(dataset, replace(manifest, table=(shorter,)))[0] == [("damaged", "repair")]


def test_a_damaged_file_is_told_once(dataset):
    path = dataset / file_path(edits.newest(dataset).table[0])
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert [one.shard for one in shardpack.verify(dataset).problems] == [file_path(edits.newest(dataset).table[0])]

"""Splits by the names of files."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.table_splits import splits_of_tables
from shardpack.storage.memory import MemoryStore


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("data/train-00000-of-00001-0123456789abcdef.parquet", "train"),
        ("data/train_small-00000-of-00002.parquet", "train_small"),
        ("beans-validation.arrow", "validation"),
        ("name-test-00001-of-00002.arrow", "test"),
        ("default/partial-train/0000.parquet", "partial-train"),
        ("default/test_extra/0003.parquet", "test_extra"),
        ("train/part-0.parquet", "train"),
        ("test.parquet", "test"),
        ("part-0.parquet", None),
        ("0000.parquet", None),
        ("latest.parquet", None),
        ("training_data.parquet", "training_data"),
    ],
)
def test_names_tell_splits(name, split):
    found = FoundFiles("here", MemoryStore({}), (name,), is_file=False)
    assert splits_of_tables(found, [name]) == [split]


def test_all_files_have_splits_or_none_has():
    found = FoundFiles("here", MemoryStore({}), (), is_file=False)
    assert splits_of_tables(found, ["train.parquet", "part.parquet"]) == [None, None]

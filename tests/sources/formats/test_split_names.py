"""Named splits by the names of files."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.split_names import splits_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00128", "train"),
        ("flowers_val.rec", "val"),
        ("Validation.beton", "Validation"),
        ("x/train/index.json", "train"),
        ("test/a.train-1.rec", "train"),
        ("train_and_test.rec", None),
        ("training/train_test.rec", "training"),
        ("trained.rec", None),
        ("a.rec", None),
    ],
)
def test_splits_of_files(name, split):
    assert splits_of([name]) == [split]

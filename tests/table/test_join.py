"""Tables of several datasets, one behind the other."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.format.splits import Splits
from shardpack.storage.open import open_store
from shardpack.table.join import joined_rows
from shardpack.table.read_table import LabelTable

pytest.importorskip("pyarrow")


def test_positions_and_splits_are_those_of_the_joined_dataset(tmp_path):
    tables = []
    for number, (name, first) in enumerate((("a", 0), ("b", 5))):
        rows = [(f"{name}{n}", {"json": {"n": n}}) for n in range(5 - number)]
        shardpack.pack(rows, tmp_path / name)
        shardpack.table(tmp_path / name)
        with shardpack.open(tmp_path / name) as ds:
            tables.append((LabelTable.open(open_store(tmp_path / name), ds.manifest), first))
    splits = Splits(("train",), np.array([4]), np.array([6]), np.array([0], np.uint16))
    rows = [row for some in joined_rows(tables, splits) for row in some.table.to_pylist()]
    assert [(row["position"], row["key"], row["n"], row["split"]) for row in rows] == [
        (n, f"a{n}" if n < 5 else f"b{n - 5}", n % 5, "train" if n in (4, 5) else None) for n in range(9)
    ]

"""Rows of Parquet are the values of its columns; what is no such table is an error."""

from __future__ import annotations

import math

import pytest

from shardpack.errors import SourceError
from shardpack.sources.parquet_table import parquet_records
from shardpack.sources.table_text import table_text


def table_of(path):
    return table_text(path.name, path.read_bytes())


def test_rows_of_parquet_with_nan_at_any_depth(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"file_name": "a.jpg", "x": 0.5, "box": [1.0, math.nan], "of": {"y": math.nan, "z": -math.inf}},
        {"file_name": "b.jpg", "x": math.nan, "box": None, "of": {"y": 1.5, "z": 0.0}},
    ]
    parquet.write_table(pa.Table.from_pylist(rows * 3), tmp_path / "a.parquet", row_group_size=2)
    found = list(parquet_records(table_of(tmp_path / "a.parquet")))
    assert [line for _, line, _ in found] == [1, 2, 3, 4, 5, 6]
    assert found[0][2] == {"file_name": "a.jpg", "x": 0.5, "box": [1.0, None], "of": {"y": None, "z": -math.inf}}
    assert found[5][2] == {"file_name": "b.jpg", "x": None, "box": None, "of": {"y": 1.5, "z": 0.0}}


def test_parquet_without_file_names_or_that_is_none(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"path": ["a.jpg"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no column 'file_name': found 'path'"):
        list(parquet_records(table_of(tmp_path / "a.parquet")))
    (tmp_path / "b.parquet").write_bytes(b"no Parquet")
    with pytest.raises(SourceError, match=r"cannot read b\.parquet: .*; write it again, or use metadata\.jsonl"):
        list(parquet_records(table_of(tmp_path / "b.parquet")))

"""A missing library is an error that names the extra."""

from __future__ import annotations

import sys

import pytest

from shardpack.errors import MissingDependencyError
from shardpack.table.libraries import duckdb_module, parquet_module, pyarrow_module


@pytest.mark.parametrize(
    ("load", "name"), [(pyarrow_module, "pyarrow"), (parquet_module, "pyarrow"), (duckdb_module, "duckdb")]
)
def test_missing_library(monkeypatch, load, name):
    assert load() is not None
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=rf'needs? {name}; run pip install "shardpack\[query\]"'):
        load()

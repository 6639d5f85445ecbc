"""The libraries of the extra `query`, imported when a table is made, read or queried."""

from __future__ import annotations

from typing import Any

from shardpack.errors import MissingDependencyError

_ADVICE = 'run pip install "shardpack[query]"'


def pyarrow_module() -> Any:
    """Return the module pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import pyarrow as pa  # takes 0.05 s of CPU; pyarrow.compute as much again
    except ImportError as error:
        raise MissingDependencyError(f"the label table needs pyarrow; {_ADVICE}") from error
    return pa


def compute_module() -> Any:
    """Return the module pyarrow.compute. Raises as `pyarrow_module`."""
    pyarrow_module()
    from pyarrow import compute

    return compute


def parquet_module() -> Any:
    """Return the module pyarrow.parquet. Raises as `pyarrow_module`."""
    pyarrow_module()
    from pyarrow import parquet

    return parquet


def duckdb_module() -> Any:
    """Return the module duckdb.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise MissingDependencyError(f"queries of the label table need duckdb; {_ADVICE}") from error
    return duckdb

"""Parquet tables: rows with NaN, which writers use for a missing number, as null."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from shardpack.errors import MissingDependencyError, SourceError
from shardpack.sources.table_text import Record, TableText


def parquet_first_records(table: TableText, limit: int) -> list[dict[str, Any]]:
    """Return the first rows, at most `limit`. Raises as `parquet_records`, but needs no key."""
    return list(islice(chain.from_iterable(_batches(table)), limit))


def parquet_num_rows(table: TableText) -> int:
    """Return how many rows a table has. Raises as `parquet_records`, but needs no key."""
    return sum(map(len, _batches(table)))


def parquet_values(table: TableText, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (column, value) of the columns with a name, in whatever case; others are not read.

    Raises as `parquet_records`, but needs no key.
    """
    for records in _batches(table, name=name):
        yield from ((column, value) for record in records for column, value in record.items())


def parquet_records(table: TableText) -> Iterator[Record]:
    """Yield each row, numbered from 1.

    Raises:
        SourceError: The file is not Parquet, or lacks its key.
        MissingDependencyError: pyarrow is not installed.
    """
    number = 0
    for records in _batches(table, check=True):
        for record in records:
            number += 1
            yield table.name, number, {name: _null_for_nan(value) for name, value in record.items()}


def _batches(table: TableText, *, check: bool = False, name: str | None = None) -> Iterator[list[dict[str, Any]]]:
    """Yield rows, of all columns or of those with a name, in whatever case."""
    try:
        import pyarrow as pa  # an extra, and takes 0.1 s to import
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f'{table.name} needs pyarrow; run pip install "shardpack[parquet]", or write metadata.jsonl instead'
        ) from error
    try:
        with parquet.ParquetFile(pa.BufferReader(table.data)) as file:
            if check:
                table.check_columns(file.schema_arrow.names)
            columns = [one for one in file.schema_arrow.names if name is None or one.strip().lower() == name]
            for batch in file.iter_batches(columns=columns) if columns else ():
                yield batch.to_pylist()
    except SourceError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"cannot read {table.name}: {error}; write it again, or use metadata.jsonl") from error


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {name: _null_for_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_null_for_nan(part) for part in value]
    return value

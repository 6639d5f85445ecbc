"""Read the records of CSV, JSON Lines and Parquet tables, each as its format does it.

Knows nothing of images. A bad line is rejected with its file and line number, and reading continues; a file
that cannot be read as a table at all is a SourceError.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.csv_table import csv_head, csv_num_rows, csv_records, csv_values
from shardpack.sources.jsonl_table import jsonl_first_records, jsonl_records, jsonl_values
from shardpack.sources.parquet_table import parquet_first_records, parquet_num_rows, parquet_records, parquet_values
from shardpack.sources.source import Problems
from shardpack.sources.table_text import Head, Record, TableText


@dataclass(frozen=True, slots=True)
class _Format:
    """How tables of one kind are looked at.

    Attributes:
        head: Names of the columns, and the first rows, at most so many.
        num_rows: How many there are at most.
        values: (column, value) of the columns with a name, in whatever case.
    """

    head: Callable[[TableText, int], Head]
    num_rows: Callable[[TableText], int]
    values: Callable[[TableText, str], Iterator[tuple[str, Any]]]


def _head_of(first_records: Callable[[TableText, int], list[dict[str, Any]]]) -> Callable[[TableText, int], Head]:
    """Return what makes a head of the first records; the columns are theirs."""

    def head(table: TableText, limit: int) -> Head:
        records = first_records(table, max(limit, 1))
        names = list(dict.fromkeys(name for record in records for name in record))
        return names, [[record.get(name) for name in names] for record in records[:limit]]

    return head


_FORMATS = {
    "csv": _Format(csv_head, csv_num_rows, csv_values),
    "jsonl": _Format(_head_of(jsonl_first_records), TableText.num_lines, jsonl_values),
    "parquet": _Format(_head_of(parquet_first_records), parquet_num_rows, parquet_values),
}


def head(table: TableText, limit: int) -> Head:
    """Return (names of the columns, the first rows, at most `limit`); ([], []) of what cannot be read as a table."""
    try:
        return _FORMATS[table.kind].head(table, limit)
    except (SourceError, csv.Error):
        return [], []


def head_problem(table: TableText) -> str:
    """Return why a table whose `head` has no columns has none."""
    try:
        _FORMATS[table.kind].head(table, 1)
    except csv.Error as error:
        return f"cannot be read as CSV: {error}"
    except SourceError as error:
        return f"cannot be read: {error}"
    return "is empty, or not a table"


def num_rows(table: TableText) -> int:
    """Return how many rows a table has at most, without reading their cells."""
    return _FORMATS[table.kind].num_rows(table)


def distinct_values(table: TableText, name: str) -> dict[str, list[Any]]:
    """Return the different values of the columns with a name, in whatever case, over all rows; empty ones left out.

    Cells of CSV are texts. What cannot be read is skipped: `records_of` says what is wrong.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        for column, value in _FORMATS[table.kind].values(table, name):
            values = found.setdefault(column, {})
            if value not in (None, ""):
                values.setdefault(repr(value), value)
    except (SourceError, csv.Error):
        pass
    return {column: list(values.values()) for column, values in found.items()}


def records_of(tables: Sequence[TableText], problems: Problems) -> Iterator[Record]:
    """Yield the records of tables, with the values of a CSV column of one type in all of them; see each format.

    Raises:
        SourceError: A table cannot be read at all.
        MissingDependencyError: There is a Parquet table, and pyarrow is not installed.
    """
    yield from csv_records([table for table in tables if table.kind == "csv"], problems)
    for table in tables:
        if table.kind == "jsonl":
            yield from jsonl_records(table, problems)
        elif table.kind == "parquet":
            yield from parquet_records(table)

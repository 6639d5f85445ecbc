"""Read the records of CSV, JSON Lines and Parquet tables: what a cell or a line means.

Knows nothing of images. A bad line is rejected with its file and line number, and reading continues; a file
that cannot be read as a table at all is a SourceError.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, MissingDependencyError, SourceError
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree

FILE_NAME = "file_name"
Record = tuple[str, int, dict[str, Any]]  # (table, line or row number, values by column)

# Only text that a number reproduces: not "007", which may be a postcode, and not more digits than int64 or float64
# can keep.
_INT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def _check_columns(table: str, columns: Sequence[str]) -> None:
    if FILE_NAME not in columns:
        found = ", ".join(map(repr, columns)) or "none"
        raise SourceError(
            f"{table} has no column {FILE_NAME!r}: found {found}; "
            "rename the one that has the paths, or choose another layout"
        )
    twice = [column for number, column in enumerate(columns) if column in columns[:number]]
    if twice:
        raise SourceError(f"{table} has two columns {twice[0]!r}; rename one")


# -- CSV ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CsvTable:
    name: str
    columns: list[str]
    rows: list[tuple[int, list[str]]]  # line number, cells


def csv_records(tree: Tree, tables: Sequence[str], problems: Problems) -> Iterator[Record]:
    """Yield the records of CSV tables: UTF-8, commas, a header line, quotes as in RFC 4180.

    An empty cell becomes null. The other cells of a column, in all tables together, become ints if all of
    them are ints; else floats, if all are numbers; else text. A number that conversion would change ("007",
    more than 18 digits) makes its column text.

    Raises:
        SourceError: A table is unreadable, not UTF-8, lacks `file_name`, or has an unclosed quote.
    """
    parsed = [_parse_csv(tree, table, problems) for table in tables]
    cells: dict[str, list[list[str]]] = {}
    for table in parsed:
        for column, name in enumerate(table.columns):
            cells.setdefault(name, []).append([row[column] for _, row in table.rows])
    converters = {name: _converter(list(chain.from_iterable(parts))) for name, parts in cells.items()}
    converters[FILE_NAME] = str
    for table in parsed:
        columns = [(name, converters[name]) for name in table.columns]
        for line, row in table.rows:
            pairs = zip(columns, row, strict=True)
            yield table.name, line, {name: convert(cell) if cell else None for (name, convert), cell in pairs}


def _converter(cells: Sequence[str]) -> Callable[[str], Any]:
    filled = list(filter(None, cells))
    if all(map(_INT.fullmatch, filled)):
        return int
    if all(map(_FLOAT.fullmatch, filled)) and all(map(math.isfinite, map(float, filled))):
        return float
    return str


def _parse_csv(tree: Tree, table: str, problems: Problems) -> _CsvTable:
    data = tree.read(table)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{table}:{line}: not UTF-8: {error.reason}; save it as UTF-8") from error
    # Strict, because otherwise a quote that is never closed silently swallows the rest of the file.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if cells and not columns:
                columns = cells
                _check_columns(table, columns)
            elif cells and len(cells) != len(columns):
                problems.reject(
                    f"{table}:{line}",
                    f"malformed CSV: expected {len(columns)} cells, got {len(cells)}; correct the line",
                )
            elif cells:
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{table}:{line}: malformed CSV: {error}; repair it, or use metadata.jsonl") from error
    if not columns:
        raise SourceError(f"{table} is empty; expected a header line with a column {FILE_NAME!r}")
    return _CsvTable(table, columns, rows)


# -- JSON Lines -----------------------------------------------------------------------------------


def jsonl_records(tree: Tree, table: str, problems: Problems) -> Iterator[Record]:
    """Yield the object of each line; blank lines are skipped.

    Raises:
        SourceError: The table is unreadable or empty, or its first object lacks `file_name`.
    """
    data = tree.read(table).removeprefix(b"\xef\xbb\xbf")
    seen = False
    for number, line in enumerate(io.BytesIO(data), start=1):
        if line.isspace():
            continue
        try:
            record = parse_json(line)
        except DecodeError as error:
            problems.reject(f"{table}:{number}", f"{error}; correct the line")
            continue
        if not isinstance(record, dict):
            problems.reject(
                f"{table}:{number}", f"expected a JSON object, got {type(record).__name__}; correct the line"
            )
            continue
        if not seen:
            _check_columns(table, list(record))
            seen = True
        yield table, number, record
    if not seen and not data.strip():
        raise SourceError(f'{table} is empty; expected lines like {{"{FILE_NAME}": "0001.jpg", "label": 3}}')


# -- Parquet --------------------------------------------------------------------------------------


def parquet_records(tree: Tree, table: str) -> Iterator[Record]:
    """Yield each row, numbered from 1. NaN, which writers use for a missing number, becomes null.

    Raises:
        SourceError: The file is not Parquet, or lacks the column `file_name`.
        MissingDependencyError: pyarrow is not installed.
    """
    number = 0
    for records in _parquet_batches(tree, table):
        for record in records:
            number += 1
            yield table, number, {name: _null_for_nan(value) for name, value in record.items()}


def _parquet_batches(tree: Tree, table: str) -> Iterator[list[dict[str, Any]]]:
    try:
        import pyarrow as pa  # an extra, and takes 0.1 s to import
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f'{table} needs pyarrow; run pip install "shardpack[parquet]", or write metadata.jsonl instead'
        ) from error
    data = tree.read(table)
    try:
        with parquet.ParquetFile(pa.BufferReader(data)) as file:
            _check_columns(table, file.schema_arrow.names)
            for batch in file.iter_batches():
                yield batch.to_pylist()
    except SourceError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"cannot read {table}: {error}; write it again, or use metadata.jsonl") from error


def _null_for_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {name: _null_for_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_null_for_nan(part) for part in value]
    return value

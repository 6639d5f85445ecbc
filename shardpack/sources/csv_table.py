"""CSV tables: what a cell means, and lines that are no rows.

UTF-8, quotes as in RFC 4180, between cells what the table says. A bad line is rejected with its file and line number,
and reading continues.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.source import Problems
from shardpack.sources.table_text import HEAD_BYTES, Head, Record, TableText

# Only text that a number reproduces: not "007", which may be a postcode, and not more digits than int64 or float64
# can keep.
_INT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_FLOAT_DIGITS = 15
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_BLOCK_ROWS = 1024  # whose cells are looked at together


def csv_head(table: TableText, limit: int) -> Head:
    """Return (names of the columns, the first rows, at most `limit`).

    Raises:
        csv.Error: One of the first lines cannot be read.
    """
    text = table.data[:HEAD_BYTES].decode("utf-8-sig", errors="replace")
    whole = text if len(table.data) <= HEAD_BYTES else text[: text.rfind("\n") + 1]
    reader = csv.reader(io.StringIO(whole, newline=""), **_dialect(table))
    lines = list(islice(filter(None, reader), limit + 1))
    names = lines[:1] if table.has_header else lines  # the longest one says how many columns there are
    return table.column_names(max(names, key=len, default=[])), lines[table.has_header :][:limit]


def csv_num_rows(table: TableText) -> int:
    """Return how many rows a table has at most."""
    return table.num_lines() - table.has_header


def csv_values(table: TableText, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield (column, cell) of the columns with a name, in whatever case; before them each column with None.

    Raises:
        csv.Error: A line cannot be read.
    """
    text = io.TextIOWrapper(io.BytesIO(table.data), "utf-8-sig", "replace", newline="")
    lines = filter(None, csv.reader(text, **_dialect(table)))
    columns = table.columns if table.columns is not None else table.column_names(next(lines, []))
    chosen = [(number, column) for number, column in enumerate(columns) if column.strip().lower() == name]
    yield from ((column, None) for _, column in chosen)
    if chosen:
        yield from ((column, line[number]) for line in lines for number, column in chosen if number < len(line))


def is_number(cell: object) -> bool:
    """Return whether a cell of a table is a number, or a text that becomes one if all of its column do."""
    if isinstance(cell, str):
        return bool(_INT.fullmatch(cell) or _FLOAT.fullmatch(cell))
    return isinstance(cell, (int, float))


def csv_records(tables: Sequence[TableText], problems: Problems) -> Iterator[Record]:
    """Yield the records of tables.

    An empty cell becomes null. The other cells of a column, in all tables together, become ints if all of
    them are ints; else floats, if all are numbers; else text. A number that conversion would change ("007",
    more than 18 digits) makes its column text.

    Raises:
        SourceError: A table is not UTF-8, lacks its key, or has an unclosed quote.
    """
    columns: dict[str, _CsvColumn] = {}
    names: dict[str, list[str]] = {}
    for table in tables:
        names[table.name] = _csv_columns(table)
        own = [columns.setdefault(name, _CsvColumn()) for name in names[table.name]]
        rows = (row for _, row in _csv_rows(table, len(own), problems))
        while block := list(islice(rows, _BLOCK_ROWS)):
            for column, cells in zip(own, zip(*block, strict=True), strict=True):
                column.add(cells)
    for table in tables:
        converters = [(name, str if name == table.key else columns[name].converter) for name in names[table.name]]
        for line, row in _csv_rows(table, len(converters), Problems()):  # the first time, they were reported
            pairs = zip(converters, row, strict=True)
            yield table.name, line, {name: convert(cell) if cell else None for (name, convert), cell in pairs}


class _CsvColumn:
    """What the cells of a column can be."""

    __slots__ = ("_are_floats", "_are_ints")

    def __init__(self) -> None:
        self._are_ints = self._are_floats = True

    def add(self, cells: Sequence[str]) -> None:
        """Look at some of the cells."""
        filled = list(filter(None, cells))
        self._are_ints = self._are_ints and all(map(_INT.fullmatch, filled))
        if self._are_floats and not (self._are_ints and max(map(len, filled), default=0) <= _FLOAT_DIGITS):
            floats = all(map(_FLOAT.fullmatch, filled)) and all(map(math.isfinite, map(float, filled)))
            self._are_floats = floats

    @property
    def converter(self) -> Callable[[str], Any]:
        """What makes a value of a cell."""
        return int if self._are_ints else float if self._are_floats else str


def _dialect(table: TableText) -> dict[str, Any]:
    return {"delimiter": table.delimiter, "skipinitialspace": table.skip_blanks}


def _csv_columns(table: TableText) -> list[str]:
    """Return the names of the columns. Raises as `csv_records`."""
    try:
        table.data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.data.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{table.name}:{line}: not UTF-8: {error.reason}; save it as UTF-8") from error
    first = next((cells for _, cells in _csv_lines(table)), None)
    if first is None:
        raise SourceError(f"{table.name} is empty; expected a header line with a column {table.key!r}")
    columns = table.column_names(first)
    table.check_columns(columns)
    return columns


def _csv_rows(table: TableText, num_columns: int, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row; those with another number of cells are rejected."""
    for line, cells in islice(_csv_lines(table), int(table.has_header), None):
        if len(cells) == num_columns:
            yield line, cells
        else:
            problems.reject(
                f"{table.name}:{line}",
                f"malformed CSV: expected {num_columns} cells, got {len(cells)}; correct the line",
            )


def _csv_lines(table: TableText) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each line that is not blank. Raises as `csv_records`."""
    text = io.TextIOWrapper(io.BytesIO(table.data), encoding="utf-8-sig", newline="")
    # Strict, because otherwise a quote that is never closed silently swallows the rest of the file.
    reader = csv.reader(text, strict=True, **_dialect(table))
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(f"{table.name}:{line}: malformed CSV: {error}; repair it, or use metadata.jsonl") from error

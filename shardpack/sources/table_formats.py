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
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, MissingDependencyError, SourceError
from shardpack.sources.csv_dialect import FILE_NAME, blanks_are_no_values, column_names, delimiter_of
from shardpack.sources.source import Problems
from shardpack.sources.spaced_tables import spaced_table

Record = tuple[str, int, dict[str, Any]]  # (table, line or row number, values by column)

# Only text that a number reproduces: not "007", which may be a postcode, and not more digits than int64 or float64
# can keep.
_INT = re.compile(r"0|-?[1-9][0-9]{0,17}")
_FLOAT_DIGITS = 15
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]{0,14})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


TABLE_KINDS = {"csv": "csv", "tsv": "csv", "txt": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
_HEAD_BYTES = 1 << 20  # that `head` looks at
_BLOCK_ROWS = 1024  # of a CSV file, whose cells are looked at together


@dataclass(frozen=True, slots=True)
class TableText:
    """A table as it was read.

    Attributes:
        name: Its file, for messages.
        data: All of its bytes.
        key: The column that names images.
        delimiter: Of CSV: what is between cells; " " for any white space.
        skip_blanks: Of CSV: whether blanks in front of a cell are no part of it.
        header: Of CSV: whether the first line has the names of the columns; otherwise these are `columns`, or "0", "1",
            ... if that is empty.
        problem: Why it is a question whether the table is meant; "" if it is clear.
    """

    name: str
    data: bytes
    key: str = FILE_NAME
    delimiter: str = ","
    skip_blanks: bool = False
    header: bool = True
    columns: tuple[str, ...] = ()
    problem: str = ""

    @property
    def kind(self) -> str:
        """How it is written: "csv", "jsonl" or "parquet"."""
        return TABLE_KINDS.get(self.name.rpartition(".")[2].lower(), "csv")

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return self.name.rpartition("/")[0]


def table_text(name: str, data: bytes) -> TableText:
    """Return a table; the delimiter of a CSV file is told by its name and its first line."""
    table = TableText(name, data)
    if table.kind != "csv":
        return table
    if (spaced := spaced_table(name, data)) is not None:
        table = replace(table, columns=spaced.columns, data=spaced.data, problem=spaced.problem)
        return replace(table, delimiter=" ", skip_blanks=True, header=False)
    delimiter = delimiter_of(name, data)
    return replace(table, delimiter=delimiter, skip_blanks=blanks_are_no_values(data, delimiter))


def head(table: TableText, limit: int) -> tuple[list[str], list[list[Any]]]:
    """Return (names of the columns, the first rows, at most `limit`); ([], []) of what cannot be read as a table."""
    try:
        return _head(table, limit)
    except (SourceError, csv.Error):
        return [], []


def head_problem(table: TableText) -> str:
    """Return why a table whose `head` has no columns has none."""
    try:
        _head(table, 1)
    except csv.Error as error:
        return f"cannot be read as CSV: {error}"
    except SourceError as error:
        return f"cannot be read: {error}"
    return "is empty, or not a table"


def _head(table: TableText, limit: int) -> tuple[list[str], list[list[Any]]]:
    if table.kind == "csv":
        text = table.data[:_HEAD_BYTES].decode("utf-8-sig", errors="replace")
        whole = text if len(table.data) <= _HEAD_BYTES else text[: text.rfind("\n") + 1]
        reader = csv.reader(io.StringIO(whole, newline=""), **_dialect(table))
        lines = list(islice(filter(None, reader), limit + 1))
        if table.header:
            return (column_names(lines[0]), lines[1:]) if lines else ([], [])
        return list(table.columns or map(str, range(max(map(len, lines), default=0)))), lines
    records = _head_records(table, max(limit, 1))  # the columns are those of the rows
    names = list(dict.fromkeys(name for record in records for name in record))
    return names, [[record.get(name) for name in names] for record in records[:limit]]


def num_rows(table: TableText) -> int:
    """Return how many rows a table has at most, without reading their cells."""
    if table.kind == "parquet":
        return sum(map(len, _parquet_batches(table)))
    text = table.data.strip()
    lines = (text.count(b"\n") or text.count(b"\r")) + 1
    return lines - 1 if table.kind == "csv" and table.header else lines


def distinct_values(table: TableText, name: str) -> dict[str, list[Any]]:
    """Return the different values of the columns with a name, in whatever case, over all rows; empty ones left out.

    Cells of CSV are texts. What cannot be read is skipped: `records_of` says what is wrong.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        for column, value in _named_values(table, name):
            values = found.setdefault(column, {})
            if value not in (None, ""):
                values.setdefault(repr(value), value)
    except (SourceError, csv.Error):
        pass
    return {column: list(values.values()) for column, values in found.items()}


def _named_values(table: TableText, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (column, value) of each row; for CSV the column's name as well, without a value."""
    if table.kind == "csv":
        lines = filter(
            None,
            csv.reader(
                io.TextIOWrapper(io.BytesIO(table.data), "utf-8-sig", "replace", newline=""),
                **_dialect(table),
            ),
        )
        columns = column_names(next(lines, [])) if table.header else table.columns
        chosen = [(number, column) for number, column in enumerate(columns) if column.strip().lower() == name]
        yield from ((column, None) for _, column in chosen)
        if chosen:
            yield from ((column, line[number]) for line in lines for number, column in chosen if number < len(line))
    elif table.kind == "parquet":
        for records in _parquet_batches(table, name=name):
            yield from ((column, value) for record in records for column, value in record.items())
    else:
        pattern = re.compile(rb'"\s*%b\s*"' % name.encode(), re.IGNORECASE)  # few lines are parsed in vain
        for line in filter(pattern.search, table.data.removeprefix(b"\xef\xbb\xbf").splitlines()):
            try:
                record = parse_json(line)
            except DecodeError:
                continue
            if isinstance(record, dict):
                yield from ((column, value) for column, value in record.items() if column.strip().lower() == name)


def _head_records(table: TableText, limit: int) -> list[dict[str, Any]]:
    if table.kind == "parquet":
        return list(islice(chain.from_iterable(_parquet_batches(table)), limit))
    lines = table.data[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf").splitlines()
    if len(table.data) > _HEAD_BYTES:
        lines.pop()
    records = []
    for line in lines[:limit]:
        try:
            record = parse_json(line) if line.strip() else None
        except DecodeError:
            continue
        if isinstance(record, dict):
            records.append(record)
    return records


def is_number(cell: object) -> bool:
    """Return whether a cell of a table is a number, or a text that becomes one if all of its column do."""
    if isinstance(cell, str):
        return bool(_INT.fullmatch(cell) or _FLOAT.fullmatch(cell))
    return isinstance(cell, (int, float))


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


def _check_columns(table: TableText, columns: Sequence[str]) -> None:
    if table.key not in columns:
        found = ", ".join(map(repr, columns)) or "none"
        raise SourceError(
            f"{table.name} has no column {table.key!r}: found {found}; "
            "name the one that has the paths (--key-column), or choose another layout"
        )
    twice = [column for number, column in enumerate(columns) if column in columns[:number]]
    if twice:
        raise SourceError(f"{table.name} has two columns {twice[0]!r}; rename one")


# -- CSV ------------------------------------------------------------------------------------------


def csv_records(tables: Sequence[TableText], problems: Problems) -> Iterator[Record]:
    """Yield the records of CSV tables: UTF-8, quotes as in RFC 4180, commas or what the table says.

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
    columns = column_names(first) if table.header else list(table.columns or map(str, range(len(first))))
    _check_columns(table, columns)
    return columns


def _csv_rows(table: TableText, num_columns: int, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each row; those with another number of cells are rejected."""
    for line, cells in islice(_csv_lines(table), int(table.header), None):
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


# -- JSON Lines -----------------------------------------------------------------------------------


def jsonl_records(table: TableText, problems: Problems) -> Iterator[Record]:
    """Yield the object of each line; blank lines are skipped.

    Raises:
        SourceError: The table is empty, or its first object lacks its key.
    """
    data = table.data.removeprefix(b"\xef\xbb\xbf")
    seen = False
    for number, line in enumerate(io.BytesIO(data), start=1):
        if line.isspace():
            continue
        try:
            record = parse_json(line)
        except DecodeError as error:
            problems.reject(f"{table.name}:{number}", f"{error}; correct the line")
            continue
        if not isinstance(record, dict):
            problems.reject(
                f"{table.name}:{number}", f"expected a JSON object, got {type(record).__name__}; correct the line"
            )
            continue
        if not seen:
            _check_columns(table, list(record))
            seen = True
        yield table.name, number, record
    if not seen and not data.strip():
        raise SourceError(f'{table.name} is empty; expected lines like {{"{table.key}": "0001.jpg", "label": 3}}')


# -- Parquet --------------------------------------------------------------------------------------


def parquet_records(table: TableText) -> Iterator[Record]:
    """Yield each row, numbered from 1. NaN, which writers use for a missing number, becomes null.

    Raises:
        SourceError: The file is not Parquet, or lacks its key.
        MissingDependencyError: pyarrow is not installed.
    """
    number = 0
    for records in _parquet_batches(table, check=True):
        for record in records:
            number += 1
            yield table.name, number, {name: _null_for_nan(value) for name, value in record.items()}


def _parquet_batches(
    table: TableText, *, check: bool = False, name: str | None = None
) -> Iterator[list[dict[str, Any]]]:
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
                _check_columns(table, file.schema_arrow.names)
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

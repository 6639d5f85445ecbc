"""Read labels by key: rows of a CSV, TSV, JSON Lines or Parquet table, a JSON file, or pairs from code.

    key,label,class                {"key": "cat/0001", "label": 3}         {"cat/0001": {"label": 3}, ...}
    cat/0001,3,hat                 ...                                     [{"key": "cat/0001", "label": 3}, ...]

The key is taken out of a row, and what is left is the value. Cells of CSV are typed as packing types them
(`table_formats.csv_records`). Either all rows are good, or an error names the first ones that are not.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.runtime.words import a_type
from shardpack.sources.json_labels import compact_json, plain_value
from shardpack.sources.source import SHOWN, Problems
from shardpack.sources.table_formats import head, records_of
from shardpack.sources.table_text import TABLE_KINDS, TableText, table_text
from shardpack.storage.url import is_url

Labels = str | os.PathLike[str] | Mapping[str, Any] | Iterable[tuple[str, Any]]

_KINDS = ", ".join(sorted({*TABLE_KINDS, "json"} - {"txt"}))


class LabelRow(NamedTuple):
    """The label of one key: any JSON value; `where` says where it was read, as people look for it."""

    key: str
    value: Any
    where: str


def read_label_rows(labels: Labels, *, key_column: str = "key", without_nulls: bool = False) -> list[LabelRow]:
    """Return the labels in their order; keys differ, and every value can be written as JSON.

    Args:
        labels: A file, told by its ending; or key -> value, or pairs of them.
        key_column: Name of the column or member that holds the key.
        without_nulls: Leave empty cells of CSV and nulls of Parquet out of the values: tables whose rows cannot leave
            anything out.

    Raises:
        SourceError: A file cannot be read, rows do not parse, or two rows have one key.
        OptionError: `labels` is of another kind.
        MissingDependencyError: The file is Parquet, and pyarrow is not installed.
    """
    problems = Problems()
    if isinstance(labels, (str, os.PathLike)):
        name = os.fspath(labels)
        rows = _read_file(name, key_column, problems, without_nulls=without_nulls)
    else:
        name = "labels"
        rows = _pairs(labels)
    kept = list(_checked(rows, problems))
    raise_problems(problems, name)
    return kept


def raise_problems(problems: Problems, name: str) -> None:
    """Raise SourceError if rows were rejected: names the first few, and counts all."""
    if problems.rejected:
        shown = "; ".join(f"{where}: {reason}" for where, reason in problems.rejected[:SHOWN])
        more = len(problems.rejected) - SHOWN
        raise SourceError(
            f"{len(problems.rejected)} of the rows of {name} cannot be used: {shown}"
            + (f"; and {more} more" if more > 0 else "")
            + "; correct them: nothing was changed"
        )


def _read_file(name: str, key_column: str, problems: Problems, *, without_nulls: bool) -> Iterator[LabelRow]:
    if is_url(name):
        raise SourceError(f"labels are read from this machine only, got {name!r}; download it, and name the file")
    ending = name.rpartition(".")[2].lower()
    if ending not in TABLE_KINDS and ending != "json":
        raise SourceError(f"cannot tell what {name!r} is by its name; expected a file of one of {_KINDS}")
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {name!r}: {error.strerror or error}; name a file with labels") from error
    if ending == "json":
        return _json_rows(name, data, key_column, problems)
    table = table_text(name, data)
    columns = head(table, 1)[0]
    if columns and key_column not in columns:
        raise _without_key(name, columns, key_column)
    if columns == [key_column] and table.kind != "jsonl":
        raise SourceError(f"{name} has no column besides {key_column!r}; add those that make the label")
    return _table_rows(table, key_column, problems, without_nulls=without_nulls and table.kind != "jsonl")


def _without_key(name: str, columns: Iterable[str], key_column: str) -> SourceError:
    found = ", ".join(map(repr, columns))
    return SourceError(f"{name} has no {key_column!r}: found {found}; name the column that has the keys (--key-column)")


def _table_rows(table: TableText, key_column: str, problems: Problems, *, without_nulls: bool) -> Iterator[LabelRow]:
    for name, number, record in records_of([replace(table, key=key_column)], problems):
        where = f"{name}:{number}"
        key = record.pop(key_column, None)
        values = {name: value for name, value in record.items() if value is not None} if without_nulls else record
        yield LabelRow(key, values, where)  # `_checked` looks at the key


def _json_rows(name: str, data: bytes, key_column: str, problems: Problems) -> Iterator[LabelRow]:
    try:
        value = parse_json(data.removeprefix(BOM_UTF8))
    except DecodeError as error:
        raise SourceError(f"{name}: {error}; correct it") from error
    if isinstance(value, dict):
        yield from (LabelRow(key, label, f"{name}: {key!r}") for key, label in value.items())
    elif isinstance(value, list):
        for number, record in enumerate(value):
            where = f"{name}[{number}]"
            if not isinstance(record, dict):
                problems.reject(where, f"expected an object, got {type(record).__name__}; correct it")
                continue
            if key_column not in record:
                raise _without_key(where, record, key_column)
            key = record.pop(key_column)
            yield LabelRow(key, record, where)
    else:
        raise SourceError(
            f"{name} holds {a_type(value)}; expected an object, key -> label, or a list of objects with keys"
        )


def _pairs(labels: Any) -> Iterator[LabelRow]:
    if not isinstance(labels, Iterable):
        raise OptionError(f"labels are {labels!r:.60}; expected a file, a dict key -> label, or pairs of them")
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    for number, pair in enumerate(pairs):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise OptionError(f"label {number} is {pair!r:.60}; expected a pair of a key and its label")
        yield LabelRow(pair[0], pair[1], f"label {number}")


def _checked(rows: Iterator[LabelRow], problems: Problems) -> Iterator[LabelRow]:
    """Yield the rows that can be used; the others are rejected."""
    first: dict[str, str] = {}
    for row in rows:
        if not isinstance(row.key, str) or not row.key:
            problems.reject(row.where, f"its key is {row.key!r:.60}, expected a text; correct it")
            continue
        if (other := first.setdefault(row.key, row.where)) != row.where:
            problems.reject(row.where, f"has the key {row.key!r}, as {other} has; keep one of the two")
            continue
        try:
            value = row.value if _is_json(row.value) else parse_json(compact_json(row.value, default=plain_value))
        except SourceError as error:
            problems.reject(row.where, str(error))
            continue
        yield row._replace(value=value)


_PLAIN = frozenset((str, int, bool, type(None)))


def _is_json(value: Any) -> bool:
    """Return whether a value is one that JSON gives back as it is, as far as that can be told at a glance."""
    return type(value) is dict and all(type(part) in _PLAIN for part in value.values())

"""Tables of JSON Lines: an object in each line. A bad line is rejected with its file and line number."""

from __future__ import annotations

import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.source import Problems
from shardpack.sources.table_text import HEAD_BYTES, Record, TableText


def jsonl_first_records(table: TableText, limit: int) -> list[dict[str, Any]]:
    """Return the objects in the first lines, at most `limit`; other lines are passed over."""
    lines = table.data[:HEAD_BYTES].removeprefix(BOM_UTF8).splitlines()
    if len(table.data) > HEAD_BYTES:
        lines.pop()
    return list(_objects(lines[:limit]))


def jsonl_values(table: TableText, name: str) -> Iterator[tuple[str, Any]]:
    """Yield (column, value) of the columns with a name, in whatever case."""
    pattern = re.compile(rb'"\s*%b\s*"' % name.encode(), re.IGNORECASE)  # few lines are parsed in vain
    for record in _objects(filter(pattern.search, table.data.removeprefix(BOM_UTF8).splitlines())):
        yield from ((column, value) for column, value in record.items() if column.strip().lower() == name)


def _objects(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            record = parse_json(line) if line.strip() else None
        except DecodeError:
            continue
        if isinstance(record, dict):
            yield record


def jsonl_records(table: TableText, problems: Problems) -> Iterator[Record]:
    """Yield the object of each line; blank lines are skipped.

    Raises:
        SourceError: The table is empty, or its first object lacks its key.
    """
    data = table.data.removeprefix(BOM_UTF8)
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
            table.check_columns(list(record))
            seen = True
        yield table.name, number, record
    if not seen and not data.strip():
        raise SourceError(f'{table.name} is empty; expected lines like {{"{table.key}": "0001.jpg", "label": 3}}')

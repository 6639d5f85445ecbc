"""`shardpack ls`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from itertools import chain, islice
from typing import Any, TypeVar

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    emit,
    generation_option,
    hexadecimal,
    json_option,
    note,
    print_json,
)

_Item = TypeVar("_Item")
_BATCH_ROWS = 4096
_ALIGNED_ROWS = 100  # whose lengths decide how wide columns are


@click.command("ls", cls=Command, epilog="Example: shardpack ls out/ --match 'cat/*' -l -n 10")
@dataset_argument
@click.option("--split", metavar="NAME", help="Only samples of this split.")
@click.option(
    "--where",
    metavar="SQL",
    help="Only samples for which this expression is true: \"class = 'hat' and width > 400\".",
)
@click.option(
    "--columns",
    callback=lambda _context, _option, value: value and [name.strip() for name in value.split(",")],
    metavar="NAMES",
    help="Print these columns of the label table: key,class,width; 'all' for all.",
)
@click.option("--match", metavar="GLOB", help="Only keys that match this pattern.")
@click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="Stop after N samples.")
@click.option("--long", "-l", "in_long", is_flag=True, help="Also print position, shard and the size of each field.")
@access_options
@generation_option
@json_option
def command(
    dataset: str,
    split: str | None,
    where: str | None,
    columns: list[str] | None,
    match: str | None,
    limit: int | None,
    in_long: bool,
    as_json: bool,
    **access: Any,
) -> None:
    """List the samples of DS, one key per line, in stored order. Reads only the indexes.

    --where and --columns read the label table instead, which "shardpack table" makes. The expression is SQL, as it
    stands behind WHERE: labels by their names, and class, key, position, split, width, height, mode, format, bytes.

    With --json one object per line: key, position, shard, and fields, each with url, offset, size
    and crc32c (null if the shard was indexed without reading its payloads); with --columns: these.
    """
    ds = shardpack.open(dataset, **access)
    if split is not None:
        ds = ds.split(split)
    if where is not None:
        ds = ds.where(where)
    if columns is not None:
        if in_long:
            raise click.UsageError("--long is for samples, --columns for rows of the label table; give one of them")
        _print_columns(ds, columns, match, limit, as_json=as_json)
        return
    if not in_long and not as_json:
        matching = (key for key in ds.keys() if match is None or fnmatchcase(key, match))  # noqa: SIM118
        for key in islice(_told_if_none(matching, match), limit):
            emit(key)
        return
    entries = (entry for entry in ds.entries() if match is None or fnmatchcase(entry.key, match))
    for entry in islice(_told_if_none(entries, match), limit):
        if as_json:
            spans = {
                field: {"url": at.url, "offset": at.offset, "size": at.size, "crc32c": hexadecimal(at.crc32c)}
                for field, at in entry.fields.items()
            }
            print_json({"key": entry.key, "position": entry.position, "shard": entry.shard, "fields": spans})
        else:
            sizes = "  ".join(f"{field} {at.size}" for field, at in entry.fields.items())
            emit(f"{entry.position:>9}  {entry.key}  {entry.shard}  {sizes}")


def _told_if_none(matching: Iterable[_Item], match: str | None) -> Iterator[_Item]:
    """Yield what matches a pattern for keys; say so if nothing does."""
    none = True
    for item in matching:
        none = False
        yield item
    if none and match is not None:
        note(f"no key matches {match!r}")


def _print_columns(
    ds: shardpack.Dataset, columns: list[str], match: str | None, limit: int | None, *, as_json: bool
) -> None:
    """Print rows of the label table: below the names of its columns, or as JSON."""
    if not columns:
        raise click.UsageError("--columns names no column; write --columns key,class, or --columns all")
    shown = None if columns == ["all"] else columns
    table = ds.table(None if shown is None else list(dict.fromkeys([*shown, "key"])))
    names = table.column_names if shown is None else shown
    rows = (row for batch in table.to_batches(_BATCH_ROWS) for row in batch.to_pylist())
    matching = (row for row in rows if match is None or fnmatchcase(row["key"], match))
    chosen = islice(_told_if_none(matching, match), limit)
    if as_json:
        for row in chosen:
            print_json({name: row[name] for name in names})
        return
    lines = ([_cell(row[name]) for name in names] for row in chosen)
    first = [names, *islice(lines, _ALIGNED_ROWS)]
    widths = [max(map(len, column)) for column in zip(*first, strict=True)]
    for line in chain(first, lines):
        emit("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    """Return a value as a cell: texts as they are, - for null, all else as JSON."""
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

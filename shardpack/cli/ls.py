"""`shardpack ls`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import click

import shardpack
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    emit,
    generation_option,
    hexadecimal,
    json_option,
    print_json,
)


@click.command("ls", epilog="Example: shardpack ls out/ --match 'cat/*' -l -n 10")
@dataset_argument
@click.option("--split", metavar="NAME", help="Only samples of this split.")
@click.option("--match", metavar="GLOB", help="Only keys that match this pattern.")
@click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="Stop after N samples.")
@click.option("--long", "-l", "in_long", is_flag=True, help="Also print position, shard and the size of each field.")
@access_options
@generation_option
@json_option
def command(
    dataset: str,
    split: str | None,
    match: str | None,
    limit: int | None,
    in_long: bool,
    as_json: bool,
    **access: Any,
) -> None:
    """List the samples of DS, one key per line, in stored order. Reads only the indexes.

    With --json one object per line: key, position, shard, and fields, each with url, offset, size
    and crc32c (null if the shard was indexed without reading its payloads).
    """
    ds = shardpack.open(dataset, **access)
    if split is not None:
        ds = ds.split(split)
    if not in_long and not as_json:
        for key in islice((key for key in ds.keys() if match is None or fnmatchcase(key, match)), limit):  # noqa: SIM118
            emit(key)
        return
    for entry in islice((entry for entry in ds.entries() if match is None or fnmatchcase(entry.key, match)), limit):
        if as_json:
            spans = {
                field: {"url": at.url, "offset": at.offset, "size": at.size, "crc32c": hexadecimal(at.crc32c)}
                for field, at in entry.fields.items()
            }
            print_json({"key": entry.key, "position": entry.position, "shard": entry.shard, "fields": spans})
        else:
            sizes = "  ".join(f"{field} {at.size}" for field, at in entry.fields.items())
            emit(f"{entry.position:>9}  {entry.key}  {entry.shard}  {sizes}")

"""`shardpack ls`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import islice

import click

import shardpack
from shardpack.cli.ui import dataset_argument, json_option, print_json


@click.command("ls", epilog="Example: shardpack ls out/ --match 'cat/*' -l -n 10")
@dataset_argument
@click.option("--match", metavar="GLOB", help="Only keys that match this pattern.")
@click.option("--limit", "-n", type=click.IntRange(min=0), metavar="N", help="Stop after N samples.")
@click.option("--long", "-l", "in_long", is_flag=True, help="Position, shard and the size of each field too.")
@json_option
def command(dataset: str, match: str | None, limit: int | None, in_long: bool, as_json: bool) -> None:
    """List the samples of DS, one key a line, in stored order. Reads the indexes only.

    With --json one object a line: key, position, shard, and each field's offset and size.
    """
    ds = shardpack.open(dataset)
    entries = (entry for entry in ds.entries() if match is None or fnmatchcase(entry.key, match))
    for entry in islice(entries, limit):
        if as_json:
            print_json(entry)
        elif in_long:
            sizes = "  ".join(f"{field} {span.size}" for field, span in entry.fields.items())
            click.echo(f"{entry.position:>9}  {entry.key}  {entry.shard}  {sizes}")
        else:
            click.echo(entry.key)

"""`shardpack log`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, emit, json_option, plural, print_json, storage_option


@click.command("log", cls=Command, epilog="Example: shardpack log out/")
@dataset_argument
@storage_option
@json_option
def command(dataset: str, storage_options: dict[str, Any] | None, as_json: bool) -> None:
    """Show what each generation of DS changed, the newest first.

    A line is a generation: its number, the command that made it, its samples and fingerprint, and what it changed.
    Generations that "shardpack gc" deleted are not listed; of one whose manifest is damaged that is said.

    With --json one object per line: generation, command, changes, num_samples, added, deleted, num_shards, num_bytes,
    fields, fingerprint.
    """
    entries = shardpack.log(dataset, storage_options=storage_options)
    width = max(len(entry.command) for entry in entries)
    for entry in entries:
        if as_json:
            print_json(entry)
        else:
            samples = plural(entry.num_samples, "sample") if entry.fingerprint else "?"
            changes = "; ".join(entry.changes) or "nothing"
            emit(f"{entry.generation:>6}  {entry.command:<{width}}  {samples:>14}  {entry.fingerprint}  {changes}")

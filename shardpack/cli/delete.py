"""`shardpack delete`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, edit_options, plural, print_edit, progress_bar


@click.command("delete", cls=Command, epilog="Example: shardpack delete out/ --key cat/0001 --key cat/0007")
@dataset_argument
@click.option(
    "--key", "keys", multiple=True, metavar="K", help="Delete the sample with key K; may be given many times."
)
@click.option(
    "--keys-from",
    type=click.File("r", encoding="utf-8", errors="surrogateescape"),
    metavar="FILE",
    help="Delete the samples whose keys are in FILE, one a line; - for standard input.",
)
@click.option(
    "--where",
    metavar="SQL",
    help="Delete the samples that SQL is true for, as in ls --where.",
)
@edit_options
def command(dataset: str, keys: tuple[str, ...], keys_from: Any, as_json: bool, quiet: bool, **options: Any) -> None:
    """Delete samples of the dataset DS.

    Makes the next generation of DS, which does not show them. Shards stay as they are, and earlier generations still
    show the samples (--generation), until "shardpack gc" deletes these generations. A key that is not there is an
    error, and nothing is deleted.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run.
    """
    lines = [line for line in (line.rstrip("\r\n") for line in keys_from or ()) if line]
    if keys_from is not None and not lines:
        raise click.UsageError(f"{keys_from.name!r} names no key; write one in each line, or leave --keys-from out")
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.delete(dataset, [*keys, *lines], progress=progress, **options)
    print_edit(report, f"{plural(report.deleted, 'sample')}", as_json=as_json, quiet=quiet)

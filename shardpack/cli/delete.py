"""`shardpack delete`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, edit_options, plural, print_edit, progress_bar
from shardpack.errors import OptionError, SourceError


@click.command("delete", cls=Command, epilog="Example: shardpack delete out/ --key cat/0001 --key cat/0007")
@dataset_argument
@click.option(
    "--key", "keys", multiple=True, metavar="K", help="Delete the sample with key K; may be given many times."
)
@click.option(
    "--keys-from",
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Delete the samples whose keys are in FILE, one a line; - for standard input.",
)
@click.option(
    "--where",
    metavar="SQL",
    help="Delete the samples that SQL is true for, as in ls --where.",
)
@edit_options
def command(
    dataset: str, keys: tuple[str, ...], keys_from: str | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Delete samples of the dataset DS.

    Makes the next generation of DS, which does not show them. Shards stay as they are, and earlier generations still
    show the samples (--generation), until "shardpack gc" deletes these generations. A key that is not there is an
    error, and nothing is deleted.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run.
    """
    listed = [] if keys_from is None else _listed_keys(keys_from)
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.delete(dataset, [*keys, *listed], progress=progress, **options)
    print_edit(report, f"{plural(report.deleted, 'sample')}", as_json=as_json, quiet=quiet)


def _listed_keys(path: str) -> list[str]:
    """Return the keys in a file, one a line; "-" is standard input."""
    try:
        with click.open_file(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            keys = [key for line in file if (key := line.rstrip("\r\n"))]
    except OSError as error:
        raise SourceError(f"cannot read {path!r}: {error.strerror or error}; name a file of keys") from error
    if not keys:
        raise OptionError(f"{path!r} names no key; write one in each line, or leave --keys-from out")
    return keys

"""`shardpack attach`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, edit_options, note, plural, print_edit, progress_bar


@click.command("attach", cls=Command, epilog="Example: shardpack attach out/ captions/ --fields txt")
@dataset_argument
@click.argument("other", metavar="OTHER", type=click.Path())
@click.option("--fields", metavar="F,G", help="The fields that OTHER gives. [default: all]")
@edit_options
def command(dataset: str, other: str, fields: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Attach the dataset OTHER to the dataset DS as a layer.

    By key, samples of OTHER replace or add fields of those of DS, in its next generation: captions, embeddings, masks,
    other labels. Nothing is copied; OTHER stays where it is, and is read as it is now, also if it is edited. Keys that
    DS does not have are an error. Later layers win over earlier ones.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run, layer,
    fields.
    """
    chosen = None if fields is None else [name.strip() for name in fields.split(",") if name.strip()]
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.attach(
            dataset, other, fields=chosen, progress=progress, announce=partial(note, quiet=quiet), **options
        )
    what = f"{', '.join(report.fields)} of {plural(report.changed, 'sample')}"
    print_edit(report, what, as_json=as_json, quiet=quiet)

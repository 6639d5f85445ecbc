"""`shardpack detach`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, edit_options, note, print_edit


@click.command("detach", cls=Command, epilog="Example: shardpack detach out/ --layer ../captions")
@dataset_argument
@click.option(
    "--layer", metavar="N|LOCATION", help="Which layer: its number, from 0, or its location. [default: the only one]"
)
@edit_options
def command(dataset: str, layer: str | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Take a layer off the dataset DS, in its next generation; without --layer, the only one that there is.

    Labels that "shardpack relabel" has changed are a layer, too. The files of the layer stay, and earlier generations
    show it.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run, layer,
    fields.
    """
    which = int(layer) if layer is not None and layer.isascii() and layer.isdecimal() else layer
    report = shardpack.detach(dataset, which, announce=partial(note, quiet=quiet), **options)
    print_edit(report, f"{report.layer} ({', '.join(report.fields)})", as_json=as_json, quiet=quiet)

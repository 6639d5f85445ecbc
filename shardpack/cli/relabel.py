"""`shardpack relabel`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import dataset_argument, edit_options, note, plural, print_edit, progress_bar, work_dir_option


@click.command("relabel", cls=Command, epilog="Example: shardpack relabel out/ labels.csv --update")
@dataset_argument
@click.argument("labels", metavar="LABELS", type=click.Path())
@click.option("--update", is_flag=True, help="Set the names that a row gives in the old label, and keep its others.")
@click.option(
    "--key-column", default="key", metavar="NAME", help="The column or member that holds the key. [default: key]"
)
@click.option("--new-classes", is_flag=True, help="Add classes that DS does not have at the end of its class list.")
@edit_options
@work_dir_option
def command(dataset: str, labels: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Give samples of the dataset DS other JSON labels, by the rows of LABELS.

    LABELS is a CSV, TSV, JSON Lines or Parquet table, a row a sample: its key, and the values that are its new label;
    or JSON, an object from key to label or a list of such rows. With --update the other names of the old label stay,
    and empty cells of CSV and nulls of Parquet change nothing. Numbers and names of classes are completed from the
    class list of DS; a field cls beside the label gets the new number, too. If one row is wrong, nothing is changed.

    The labels become a layer of DS, in its next generation; images are neither read nor written.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run,
    new_classes.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.relabel(dataset, labels, progress=progress, announce=partial(note, quiet=quiet), **options)
    added = ", ".join(map(repr, report.new_classes[:4])) + ", ..." * (len(report.new_classes) > 4)
    more = f" (new classes: {added})" if added else ""
    print_edit(report, f"{plural(report.changed, 'sample')}{more}", as_json=as_json, quiet=quiet)

"""`shardpack table`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    dataset_argument,
    edit_options,
    jobs_option,
    note,
    plural,
    print_edit,
    progress_bar,
    work_dir_option,
)


@click.command("table", cls=Command, epilog="Example: shardpack table out/")
@dataset_argument
@click.option("--force", is_flag=True, help="Make the table anew if DS has one.")
@edit_options
@jobs_option
@work_dir_option
def command(dataset: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make the label table of the dataset DS: a row for each sample, with its labels and the facts of its image.

    It is what "shardpack ls --where" and "shardpack info --by" read: Parquet files in .shardpack/table/, which other
    programs read, too. All labels are read, and the first bytes of each image. The next generation of DS has the table
    and is the same otherwise; edits keep it up to date. It is the same for any --jobs; the same command continues a run
    that was killed.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run; added is
    the number of rows.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.table(dataset, progress=progress, **options)
    if not report.added and not as_json:
        note(f"{report.location} has a table already; --force makes it anew", quiet=quiet)
        return
    print_edit(report, f"a table of {plural(report.added, 'row')}", as_json=as_json, quiet=quiet)

"""`shardpack gc`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    dataset_argument,
    emit,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
    storage_option,
)
from shardpack.edit.gc import KEEP, OLDER_THAN
from shardpack.runtime.sizes import format_bytes


@click.command("gc", cls=Command, epilog="Example: shardpack gc out/ --keep 3 --older-than 7d --dry-run")
@dataset_argument
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    default=KEEP,
    show_default=True,
    help="How many generations are kept, the newest among them.",
)
@click.option(
    "--older-than",
    metavar="TIME",
    default=OLDER_THAN,
    show_default=True,
    help="Delete only files that were written, and generations that were followed by another one, that long ago: "
    "90 (seconds), 45m, 12h, 7d.",
)
@click.option("--dry-run", is_flag=True, help="List the files that would be deleted; delete nothing.")
@storage_option
@json_option
@quiet_option
def command(dataset: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Delete earlier generations of DS, and files that no generation needs.

    Whoever still reads a generation that is deleted gets errors: choose --older-than longer than the longest run.
    Tars that shardpack only indexed, and tars in other places, are never deleted. What an unfinished edit keeps for its
    next run is deleted when nothing was written for it that long; in a bucket, and where folders have no locks, for a
    day at least.

    With --json: location, kept, generations, files, layers, num_bytes, num_young, seconds, dry_run.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.gc(dataset, progress=progress, **options)
    if as_json:
        print_json(report)
        return
    if report.dry_run:
        for name in report.files:
            emit(name)
    verb = "would delete" if report.dry_run else "deleted"
    young = f"; {plural(report.num_young, 'file')} too young" if report.num_young else ""
    layers = f"; layers among them: {', '.join(report.layers)}" if report.layers else ""
    note(
        f"{verb} {plural(len(report.generations), 'generation')}, {plural(len(report.files), 'file')}, "
        f"{format_bytes(report.num_bytes)}; {plural(len(report.kept), 'generation')} kept{young}{layers}",
        quiet=quiet,
    )

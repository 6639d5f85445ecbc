"""`shardpack merge`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    json_option,
    note,
    options_of,
    plural,
    print_json,
    progress_bar,
    quiet_option,
    work_dir_option,
)
from shardpack.runtime.sizes import format_bytes


@click.command("merge", cls=Command, epilog="Example: shardpack merge photos-2025/ photos-2026/ --out photos/")
@click.argument("datasets", metavar="DS...", nargs=-1, required=True, type=click.Path())
@click.option("--out", metavar="OUT", required=True, type=click.Path(), help="Folder or URL of the new dataset.")
@click.option("--copy", is_flag=True, help="Copy the tars to OUT; otherwise they stay where they are.")
@click.option(
    "--reconcile", is_flag=True, help="Join class lists that differ, and renumber labels; those of the first stay."
)
@click.option("--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="Shards to copy at once. [default: 4]")
@click.option("--dry-run", is_flag=True, help="Show what would be merged; write nothing.")
@click.option("--force", is_flag=True, help="Delete the dataset that is already in OUT, then merge.")
@options_of("--target-storage-option", "OUT")
@access_options
@work_dir_option
@json_option
@quiet_option
def command(datasets: tuple[str, ...], out: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Make one dataset of the datasets DS..., one behind the other.

    The tars stay where they are, unchanged: OUT holds their indexes, and says where they lie, relative to itself on one
    disk and in one bucket. So it costs little, and OUT needs the others to stay. With --copy, OUT holds all tars, under
    names that tell them apart.

    Deleted samples stay deleted, and layers attached. Splits of one name become one, and so do label tables, if all
    have one. Refused are keys that two of them have, and class lists that number classes differently; with --reconcile
    these are joined, and labels renumbered.

    With --json: sources, target, num_samples, num_shards, num_bytes, copied_bytes, seconds, dry_run.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.merge(datasets, out, progress=progress, announce=partial(note, quiet=quiet), **options)
    if as_json:
        print_json(report)
        return
    seconds = "" if report.dry_run else f" in {report.seconds:.1f} s"
    note(
        f"{'would merge' if report.dry_run else 'merged'} {plural(len(report.sources), 'dataset')} into {report.target}"
        f"{seconds}: {plural(report.num_samples, 'sample')} in {plural(report.num_shards, 'shard')}, "
        f"{format_bytes(report.copied_bytes)} copied",
        quiet=quiet,
    )

"""`shardpack repair`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    emit,
    jobs_option,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
)


@click.command("repair", cls=Command, epilog="Example: shardpack repair out/ --dry-run")
@dataset_argument
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Where no manifest is left, also take the tars that this pattern matches; may be given many times.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Replace files that are there: damaged ones, and sidecars without a manifest. Go back to an earlier "
    "generation where the newest manifest is lost.",
)
@jobs_option
@click.option("--dry-run", is_flag=True, help="Show what would be made, and what is lost; write nothing.")
@access_options
@json_option
@quiet_option
def command(dataset: str, include: tuple[str, ...], as_json: bool, quiet: bool, **options: Any) -> None:
    """Make the sidecars of DS again from its tars: indexes, shard table, key index, manifest.

    Where a manifest is left, files that it names and that are missing are made again byte for byte. Where none is left,
    they are made of the shards as "shardpack pack" names them; of other tars only with --include. Whole samples of tars
    that break off go to a new shard. Tars are never changed or deleted.

    What is lost is named: what tars cannot tell, and files that could not be made again. The exit code is 1 if a file
    that the manifest names is lost, also a tar or layer in another place, or the manifest of the newest generation.

    With --json: location, generation, num_samples, num_shards, written, tars, salvaged (a list of shard, num_bytes,
    num_samples, crc32c, reason, damaged), left_out, lost, seconds, dry_run.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.repair(dataset, include=include, progress=progress, **options)
    if as_json:
        print_json(report)
    else:
        for name in report.written if report.dry_run else ():
            emit(name)
        for salvage in report.salvaged:
            samples = plural(salvage.num_samples, "sample")
            why = f": {salvage.reason}" if salvage.reason else ""
            note(f"salvaged {samples} of {salvage.shard}, which breaks off{why}", quiet=quiet)
        for name in report.left_out:
            note(f"left out: {name}; take it with --include", quiet=quiet)
        for what in report.lost:
            note(f"lost: {what}", quiet=quiet)
        note(_summary(report), quiet=quiet)
    if report.lost and not report.tars:
        click.get_current_context().exit(1)


def _summary(report: shardpack.RepairReport) -> str:
    if not report.written and report.lost:
        return f"{'no file would be made again' if report.dry_run else 'nothing repaired'} in {report.location}"
    if not report.written:
        looked_at = "sidecars and the lengths of tars are right; payloads are compared by"
        return f'nothing to repair in {report.location}: {looked_at} "shardpack verify --full"'
    files = plural(len(report.written), "file")
    if report.dry_run:
        tars = f", from {plural(len(report.tars), 'tar')}" if report.tars else ""
        return f"would make {files} of {report.location}{tars}"
    samples = plural(report.num_samples, "sample")
    return f"made {files} in {report.seconds:.1f} s: generation {report.generation} of {report.location} has {samples}"

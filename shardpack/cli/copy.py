"""`shardpack copy`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
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


@click.command("copy", cls=Command, epilog="Example: shardpack copy out/ s3://bucket/train")
@dataset_argument
@click.argument("target", metavar="OUT", type=click.Path())
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="How many shards to copy at once. [default: 4]"
)
@click.option("--history", is_flag=True, help="Copy all generations of DS, instead of the newest alone.")
@click.option("--dry-run", is_flag=True, help="Show how much would be copied; write nothing.")
@click.option("--force", is_flag=True, help="Replace another dataset in OUT; if OUT holds this one, check every byte.")
@access_options
@options_of("--target-storage-option", "the URL OUT")
@work_dir_option
@json_option
@quiet_option
def command(
    dataset: str,
    target: str,
    storage_options: dict[str, Any] | None,
    allow_locations: bool | tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Copy the dataset DS to OUT; both are folders or URLs, in any combination.

    Compares length and checksum of every file with the manifest on the way, and writes the manifest
    last. The same command continues an interrupted copy. If OUT already holds this dataset, files of a
    wrong length are copied again, or with --force, files of a wrong checksum. Layers of DS are copied into OUT.

    With --json: source, target, num_samples, num_shards, num_bytes, copied_shards, copied_bytes,
    seconds, dry_run, num_layers, num_generations, left_out.
    """
    access: dict[str, Any] = {"storage_options": storage_options, "allow_locations": allow_locations}
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.copy(dataset, target, progress=progress, **access, **options)
    if as_json:
        print_json(report)
        return
    verb = "would copy" if report.dry_run else "copied"
    kept = report.num_shards - report.copied_shards - len(report.left_out)
    note(
        f"{verb} {plural(report.copied_shards, 'shard')}, {format_bytes(report.copied_bytes)}, to {report.target}"
        + ("" if report.dry_run else f" in {report.seconds:.1f} s")
        + (f"; {plural(kept, 'shard')} already there" if kept else ""),
        quiet=quiet,
    )
    if report.left_out:
        note(
            f"left out {plural(len(report.left_out), 'tar')}, not whole and without a visible sample: "
            + ", ".join(report.left_out),
            quiet=quiet,
        )

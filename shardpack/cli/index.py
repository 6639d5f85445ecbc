"""`shardpack index`."""

from __future__ import annotations

import click

import shardpack
from shardpack.cli.ui import counted, jobs_option, json_option, note, print_json, progress_bar, quiet_option
from shardpack.units import format_bytes


@click.command("index", epilog="Example: shardpack index tars/train-*.tar")
@click.argument("tars", metavar="TAR...", nargs=-1, required=True, type=click.Path())
@jobs_option
@click.option("--on-duplicate", type=click.Choice(["raise", "keep"]), default="raise", show_default=True,
              help="Keys that name two samples: refuse, or index them as webdataset reads them.")
@click.option("--force", is_flag=True, help="Replace indexes that are already there.")
@json_option
@quiet_option
def command(
    tars: tuple[str, ...], jobs: int | None, on_duplicate: str, force: bool, as_json: bool, quiet: bool
) -> None:
    """Make the offset indexes, the key index and the manifest for tars that others wrote.

    TAR is a tar, a folder of tars, or a pattern. The tars stay as they are; members are grouped to
    samples as webdataset groups them. The manifest goes to the folder that holds them all.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.index(
            list(tars), jobs=jobs, on_duplicate=on_duplicate, force=force, progress=progress  # type: ignore[arg-type]
        )
    if as_json:
        print_json(report)
        return
    note(
        f"indexed {report.num_samples:,} samples ({counted(report.samples_per_field)}) in {report.num_shards:,} tars, "
        f"{format_bytes(report.num_bytes)}, in {report.seconds:.1f} s: {report.out}",
        quiet=quiet,
    )
    if report.ignored:
        note(f"  {report.ignored:,} files in the tars belong to no sample (no key and field in the name)", quiet=quiet)
    for repeated in report.repeated[:3]:
        note(f"  key names two samples: {repeated}", quiet=quiet)
    if len(report.repeated) > 3:
        note(f"  and {len(report.repeated) - 3:,} more", quiet=quiet)

"""`shardpack export`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    counted,
    dataset_argument,
    generation_option,
    jobs_option,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
    size,
)
from shardpack.export.formats import EXPORTERS
from shardpack.runtime.sizes import format_bytes


def _as_names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


@click.command("export", cls=Command, epilog="Example: shardpack export out/ parquet/ --to parquet --jobs 8")
@dataset_argument
@click.argument("out", metavar="[OUT]", type=click.Path(), required=False)
@click.option(
    "--to",
    type=click.Choice(list(EXPORTERS)),
    required=True,
    metavar="NAME",
    help=f"The format: {', '.join(EXPORTERS)}.",
)
@click.option("--fields", callback=_as_names, metavar="NAMES", help="Export only these fields: jpg,json.")
@click.option("--drop", callback=_as_names, metavar="NAMES", help="Leave out these values of labels: captions,license.")
@click.option("--split", metavar="NAME", help="Export only this split.")
@click.option(
    "--max-file-bytes",
    type=size,
    metavar="SIZE",
    help="How many bytes of payloads go into one file, of formats that have several: 64MiB, 1GB.",
)
@click.option("--max-file-samples", type=click.IntRange(min=1), metavar="N", help="How many samples go into one file.")
@click.option("--pattern", metavar="TEXT", help='webdataset: names of the tars, such as "{split}-%06d.tar".')
@click.option("--flat", is_flag=True, help="folder: without class folders.")
@click.option("--task", type=click.Choice(["detect", "segment", "pose"]), help="yolo: what the labels are for.")
@click.option(
    "--hashes", is_flag=True, help="Formats that describe the tars: compute optional hashes; reads each tar once."
)
@jobs_option
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="What to do with samples that do not fit the format.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be exported; write nothing.")
@click.option("--force", is_flag=True, help="Delete what is in OUT, once the new files are complete.")
@access_options
@generation_option
@json_option
@quiet_option
def command(
    dataset: str,
    out: str | None,
    drop: list[str] | None,
    split: str | None,
    as_json: bool,
    quiet: bool,
    storage_options: dict[str, Any] | None,
    allow_locations: bool | tuple[str, ...],
    generation: int | None,
    **options: Any,
) -> None:
    """Write the samples of DS to the folder OUT in another format; payloads are copied byte for byte.

    What a format cannot hold is refused, with the fields to choose instead (--fields), or the values of labels
    to leave out (--drop). Formats that describe the tars take no OUT if they are to lie beside them.

    The output is the same for any --jobs. The same command continues a run that was killed; until all
    is complete, OUT holds nothing but a folder for the work.

    With --json: the attributes of shardpack.ExportReport.
    """
    ds = shardpack.open(
        dataset,
        verify=True,
        generation=generation,
        storage_options=storage_options,
        allow_locations=allow_locations,
    )
    if split is not None:
        ds = ds.split(split)
    with progress_bar(quiet=quiet) as progress:
        announce = partial(note, quiet=quiet or as_json)
        report = shardpack.export(ds, out, drop=drop or (), progress=progress, announce=announce, **options)
    if as_json:
        print_json(report)
        return
    _show(report, quiet=quiet)


def _show(report: shardpack.ExportReport, *, quiet: bool) -> None:
    verb = "would export" if report.dry_run else "exported"
    took = "" if report.dry_run else f" in {report.seconds:.1f} s"
    note(
        f"{verb} {plural(report.num_samples, 'sample')}, {format_bytes(report.num_bytes)}, to {report.out} as "
        f"{report.to}" + (f": {plural(report.num_files, 'file')}" if report.num_files else "") + took,
        quiet=quiet,
    )
    if report.splits:
        note(f"  splits: {counted(dict(report.splits))}", quiet=quiet)
    if report.left_out:
        note(f"  left out: {counted(report.left_out)}", quiet=quiet)
    if report.resumed_parts:
        note(f"  of {plural(report.num_parts, 'part')}, an earlier run had made {report.resumed_parts:,}", quiet=quiet)
    if report.rejected:
        key, reason = report.rejected[0]
        note(f"  skipped {plural(len(report.rejected), 'sample')}, the first: {key!r}: {reason}", quiet=quiet)

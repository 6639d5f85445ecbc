"""`shardpack index`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    counted,
    json_option,
    note,
    options_of,
    plural,
    print_json,
    progress_bar,
    quiet_option,
    storage_option,
)
from shardpack.index.grouping import DEFAULT_IGNORE
from shardpack.runtime.sizes import format_bytes

SHOWN = 3  # keys and tars named in a note


@click.command("index", cls=Command, epilog="Example: shardpack index tars/train-*.tar")
@click.argument("tars", metavar="TAR...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--out",
    type=click.Path(),
    metavar="OUT",
    help="Folder or URL for the indexes and the manifest. [default: where the tars are]",
)
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    metavar="N",
    help="Worker processes; for URLs, tars to index at once. [default: one per core; for URLs, 16]",
)
@click.option(
    "--checksums/--no-checksums",
    default=None,
    help="Read every payload, or skip payloads on disk too. [default: skip where it saves a quarter of a download]",
)
@click.option(
    "--on-duplicate",
    type=click.Choice(["raise", "keep"]),
    default="raise",
    show_default=True,
    help="What to do with keys that name two samples: refuse them, or index them as webdataset reads them.",
)
@click.option(
    "--ignore",
    multiple=True,
    metavar="GLOB",
    default=DEFAULT_IGNORE,
    show_default=True,
    help="Pattern of members to leave out, matched against names without folders; may be given many times.",
)
@click.option("--force", is_flag=True, help="Repair an existing dataset, or add its next generation.")
@storage_option
@options_of("--out-option", "the URL of --out, if it needs others")
@json_option
@quiet_option
def command(
    tars: tuple[str, ...],
    out: str | None,
    jobs: int | None,
    checksums: bool | None,
    on_duplicate: Literal["raise", "keep"],
    ignore: tuple[str, ...],
    force: bool,
    storage_options: dict[str, Any] | None,
    out_options: dict[str, Any] | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Index existing tars as a dataset: write offset indexes, a key index and a manifest.

    TAR is a tar, a folder of tars, a pattern, or the URL of any of these. The tars are not changed.
    Members are grouped to samples as webdataset groups them. The manifest goes to the folder that
    holds all the tars. With --force this also repairs a dataset whose indexes are damaged or lost; if
    the result differs from the existing dataset, it is the next generation of it. Of remote tars with
    large payloads only the headers are read; such tars have no checksums.

    With --json: out, num_samples, num_shards, num_bytes, samples_per_field, repeated, without_key,
    ignored, changed, without_checksums, resumed, bytes_fetched, splits, splits_from, tables, splits_dropped,
    table_dropped, seconds.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.index(
            list(tars),
            out=out,
            jobs=jobs,
            checksums=checksums,
            on_duplicate=on_duplicate,
            ignore=ignore,
            force=force,
            storage_options=storage_options,
            out_options=out_options,
            progress=progress,
        )
    if as_json:
        print_json(report)
    elif not quiet:
        _show(report)
        _show_ignored(report, ignore)
        _show_beside(report)
        _show_dropped(report)
        _show_repeated_and_changed(report)


def _show(report: shardpack.IndexReport) -> None:
    note(
        f"indexed {plural(report.num_samples, 'sample')} ({counted(report.samples_per_field)}) "
        f"in {plural(report.num_shards, 'tar')}, {format_bytes(report.num_bytes)}, "
        f"in {report.seconds:.1f} s: {report.out}"
    )
    if report.resumed:
        note(f"  already indexed by an earlier run: {plural(report.resumed, 'tar')}")
    if report.without_checksums:
        note(
            f"  {plural(report.without_checksums, 'tar')} without checksums: {format_bytes(report.bytes_fetched)} read"
        )


def _show_ignored(report: shardpack.IndexReport, ignore: Sequence[str]) -> None:
    for pattern, count in report.ignored.items():
        what = f"{pattern} (AppleDouble)" if pattern in DEFAULT_IGNORE else pattern
        note(f"  ignored {plural(count, 'member')}: {what}")
    for pattern in ignore:
        if pattern not in report.ignored and pattern not in DEFAULT_IGNORE:
            note(f"  ignored no member: {pattern}")
    if report.without_key:
        note(f"  {plural(report.without_key, 'file')} not part of any sample, as the name has no key and field")


def _show_beside(report: shardpack.IndexReport) -> None:
    if report.splits:
        source = f", as {report.splits_from} states" if report.splits_from else ""
        note(f"  splits: {counted(dict(report.splits))}{source}")
    if report.tables:
        note(
            f"  not read: {plural(len(report.tables), 'table')} beside the tars, such as {report.tables[0]!r}; if "
            'labels are in it: "shardpack pack FOLDER OUT"'
        )


def _show_dropped(report: shardpack.IndexReport) -> None:
    if report.splits_dropped:
        note(
            f"  splits that these tars do not tell are dropped: {', '.join(report.splits_dropped)}; "
            f'anew: "shardpack split {report.out}"'
        )
    if report.table_dropped:
        note(f'  the label table is not that of these tars, and dropped; anew: "shardpack table {report.out}"')


def _show_repeated_and_changed(report: shardpack.IndexReport) -> None:
    for repeated in report.repeated[:SHOWN]:
        note(f"  key names two samples: {repeated}")
    if len(report.repeated) > SHOWN:
        note(f"  and {len(report.repeated) - SHOWN:,} more")
    if report.changed:
        named = ", ".join(report.changed[:SHOWN]) + (", ..." if len(report.changed) > SHOWN else "")
        note(f"  {plural(len(report.changed), 'tar')} changed since the previous manifest: {named}")

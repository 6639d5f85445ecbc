"""`shardpack verify`."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    emit,
    flush,
    jobs_option,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
)
from shardpack.runtime.sizes import format_bytes
from shardpack.sources.dataset_path import dataset_path


@click.command("verify", cls=Command, epilog="Example: shardpack verify out/ --full")
@dataset_argument
@click.option("--full", is_flag=True, help="Read every byte and compare every checksum.")
@click.option("--images", "check_images", is_flag=True, help="Decode every image, and parse every JSON text.")
@click.option(
    "--source",
    metavar="SRC",
    help="Compare every payload with the originals: what differs, is missing, or is not in SRC.",
)
@jobs_option
@access_options
@json_option
@quiet_option
def command(
    dataset: str,
    full: bool,
    check_images: bool,
    source: str | None,
    jobs: int | None,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> int:
    """Check that DS is complete and undamaged: exit 0 if it is, else 1 with a line per problem.

    Quick by default: checks the lengths of all files, the checksums of the indexes, and the headers of
    64 samples per shard, or 8 of a URL. With --full it reads every byte of every shard, of a URL too.

    Both check deleted samples, layers, splits and earlier generations, and name files that nothing needs.
    --source lists SRC with the options that DS was packed with; payloads must not have been changed by packing.

    With --json: ok, num_shards, num_samples, num_bytes, problems (kind, shard, message, key, offset,
    command: the one that repairs it), full, seconds, without_checksums, generation, kept.
    """
    path = dataset_path(source)
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.verify(
            dataset,
            full=full,
            check_images=check_images,
            source=source if path is None else shardpack.open(path, **access),
            jobs=jobs,
            progress=progress,
            **access,
        )
    with suppress(BrokenPipeError):  # as with `| head`: the exit code still says whether problems were found
        if as_json:
            problems = [{**dataclasses.asdict(problem), "command": problem.command} for problem in report.problems]
            print_json({"ok": report.ok, **dataclasses.asdict(report), "problems": problems})
        for problem in () if as_json else report.problems:
            emit(str(problem))
        flush()  # before the note below
    if not as_json:
        how = "every byte" if full else "lengths, indexes and some headers; --full reads every byte"
        state = "ok" if report.ok else plural(len(report.problems), "problem")
        note(
            f"{state}: {plural(report.num_samples, 'sample')} in {plural(report.num_shards, 'shard')}, "
            f"{format_bytes(report.num_bytes)} ({how}), {report.seconds:.1f} s",
            quiet=quiet,
        )
        if report.without_checksums:
            note(
                f"  {plural(report.without_checksums, 'shard')} without checksums: indexed without reading payloads, "
                'so they cannot be checked; run "shardpack index --checksums --force" on the tars',
                quiet=quiet,
            )
    return 0 if report.ok else 1

"""`shardpack verify`."""

from __future__ import annotations

import dataclasses
import sys

import click

import shardpack
from shardpack.cli.ui import dataset_argument, jobs_option, json_option, note, print_json, progress_bar, quiet_option
from shardpack.units import format_bytes


@click.command("verify", epilog="Example: shardpack verify out/ --full")
@dataset_argument
@click.option("--full", is_flag=True, help="Read every byte and compare every checksum.")
@jobs_option
@json_option
@quiet_option
def command(dataset: str, full: bool, jobs: int | None, as_json: bool, quiet: bool) -> int:
    """Check that DS is whole: exit 0 if it is, 1 with a line a problem if not.

    Quick by default: lengths of all files, checksums of the indexes, and the headers of 64 samples
    a shard. With --full every shard is read whole.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.verify(dataset, full=full, jobs=jobs, progress=progress)
    if as_json:
        print_json({"ok": report.ok, **dataclasses.asdict(report)})
    else:
        for problem in report.problems:
            click.echo(f"{problem.kind}: {problem.shard}: {problem.message}")
        how = "every byte" if full else "lengths, indexes and some headers; --full reads every byte"
        state = "ok" if report.ok else f"{len(report.problems)} problem(s)"
        note(
            f"{state}: {report.num_samples:,} samples in {report.num_shards:,} shards, "
            f"{format_bytes(report.num_bytes)} ({how}), {report.seconds:.1f} s",
            quiet=quiet,
        )
    sys.stdout.flush()
    return 0 if report.ok else 1

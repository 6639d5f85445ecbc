"""`shardpack bench`."""

from __future__ import annotations

from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    emit,
    generation_option,
    is_remote,
    json_option,
    note,
    print_json,
    progress_bar,
    quiet_option,
)
from shardpack.inspect.benchmark import Speed, measure


@click.command("bench", cls=Command, epilog="Example: shardpack bench out/ --seconds 5")
@dataset_argument
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    metavar="S",
    help="Time per measurement, and limit for warming up before it.",
)
@access_options
@generation_option
@json_option
@quiet_option
def command(dataset: str, seconds: float, as_json: bool, quiet: bool, **access: Any) -> None:
    """Measure how fast the samples of DS are read on this machine, in one process: as streams, and
    at random by position, by key and in batches.

    Every measurement is warm: its samples were read just before. Of a URL this spares only the
    indexes. All fields are read, as bytes, and not decoded.

    With --json: location, seconds, and figures, each with name, num_samples, num_bytes, seconds,
    samples_per_second and bytes_per_second.
    """
    ds = shardpack.open(dataset, **access)
    with progress_bar(quiet=quiet) as progress:
        figures = list(measure(ds, seconds=seconds, progress=progress))
    if as_json:
        print_json({"location": ds.location, "seconds": seconds, "figures": [_as_dict(figure) for figure in figures]})
        return
    emit(f"{'':<24}  {'samples/s':>12}  {'MB/s':>9}  {'us/sample':>10}")
    for figure in figures:
        rate = figure.samples_per_second
        emit(f"{figure.name:<24}  {rate:>12,.0f}  {figure.bytes_per_second / 1e6:>9,.1f}  {1e6 / rate:>10,.1f}")
    where = ds.location if is_remote(ds) else "warm page cache"
    note(f"{where}, one process, all fields as bytes; {seconds:g} s per line", quiet=quiet)


def _as_dict(figure: Speed) -> dict[str, object]:
    return {
        "name": figure.name,
        "num_samples": figure.num_samples,
        "num_bytes": figure.num_bytes,
        "seconds": figure.seconds,
        "samples_per_second": figure.samples_per_second,
        "bytes_per_second": figure.bytes_per_second,
    }

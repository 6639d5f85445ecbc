"""`shardpack split`."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import counted, dataset_argument, edit_options, note, print_edit, progress_bar
from shardpack.errors import OptionError


def _as_fractions(_: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, str] | None:
    """Return {"train": "0.9", "val": "0.1"} for "train=0.9,val=0.1"."""
    return None if value is None else _pairs(parameter, value.split(","), "NAME=PART,NAME=PART")


def _as_lists(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    return _pairs(parameter, values, "NAME=FILE") if values else None


def _pairs(parameter: click.Parameter, texts: Any, shape: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.strip().partition("=")
        if not (name and equals and value):
            raise click.BadParameter(f"{text!r} is not of the form {shape}", param=parameter)
        if name in pairs:
            raise OptionError(f"the split {name!r} is named twice; name it once")
        pairs[name] = value
    return pairs


@click.command(
    "split", cls=Command, epilog="Example: shardpack split out/ --fraction train=0.9,val=0.1 --stratify class"
)
@dataset_argument
@click.option(
    "--fraction",
    callback=_as_fractions,
    metavar="NAME=PART,...",
    help="Draw splits with these parts of the samples, such as train=0.9,val=0.1; what is left is in no split.",
)
@click.option("--stratify", metavar="NAME", help="Give each split its part of each value of NAME in the labels.")
@click.option("--seed", type=int, default=0, metavar="N", help="Another seed draws other samples. [default: 0]")
@click.option(
    "--list",
    "lists",
    multiple=True,
    callback=_as_lists,
    metavar="NAME=FILE",
    help="The split NAME has the samples whose keys are in FILE, one a line; may be given many times.",
)
@click.option("--from-column", metavar="NAME", help="The value of NAME in the label of a sample names its split.")
@click.option("--force", is_flag=True, help="Replace the splits that DS has.")
@edit_options
def command(dataset: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Give the dataset DS named splits.

    They are stored with it as its next generation; shards stay as they are. Those drawn by fractions are exact, the
    same on every machine, and stay: samples that are appended later fall into them by the hash of their key, in the
    same proportion. Deleted samples are in none.

    With --json: command, location, generation, parent, num_samples, added, deleted, changed, seconds, dry_run, splits.
    """
    with progress_bar(quiet=quiet) as progress:
        report = shardpack.split(dataset, progress=progress, announce=partial(note, quiet=quiet), **options)
    print_edit(report, f"the samples ({counted(report.splits)})", as_json=as_json, quiet=quiet)

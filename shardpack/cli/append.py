"""`shardpack append`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import click

import shardpack
from shardpack.cli.pack_options import PackCommand, pack_options
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    json_option,
    note,
    plural,
    print_edit,
    progress_bar,
    quiet_option,
    single_writer_option,
    size,
    work_dir_option,
)


@click.command(
    "append",
    cls=PackCommand,
    epilog="Example: shardpack append more-photos/ out/ --on-duplicate replace",
)
@click.argument("source", metavar="SRC", type=click.Path())
@dataset_argument
@click.option(
    "--on-duplicate",
    type=click.Choice(["raise", "replace"]),
    default="raise",
    show_default=True,
    help="What to do with keys that DS has: refuse all samples, or delete the old sample and append the new one.",
)
@click.option(
    "--classes",
    metavar="NAMES",
    help="What the numbers in labels of SRC mean, if it has no class list: cat,dog,...; same: what they mean in DS.",
)
@click.option(
    "--classes-from",
    type=click.File("r", encoding="utf-8-sig"),
    metavar="FILE",
    help="The same from a file with a name in each line.",
)
@click.option(
    "--split",
    metavar="NAME",
    help="Put the samples into this split of DS; of an SRC with splits, take only those of this one.",
)
@click.option(
    "--reconcile", is_flag=True, help="Renumber the labels of an SRC that is a dataset with another class list."
)
@click.option(
    "--max-shard-bytes",
    type=size,
    metavar="SIZE",
    help="Largest size of a finished tar: 4096, 1GB, 256MiB.  [default: as DS was packed]",
)
@pack_options(without=("max_shard_bytes", "part", "split", "force"))
@single_writer_option
@access_options
@work_dir_option
@json_option
@quiet_option
def command(source: str, dataset: str, as_json: bool, quiet: bool, classes_from: Any, **options: Any) -> None:
    """Add the samples of SRC, which is whatever "shardpack pack" takes, to the dataset DS.

    Makes the next generation of DS: new shards behind the old ones, which stay as they are. It costs what is added,
    whatever the size of DS. The same command continues an append that was killed, or that was refused because another
    edit came first.

    Labels get the numbers of the classes of DS; unknown classes come at the end of its list. Keys that DS has are
    refused, before any work where they are known. Shards are limited and compressed as those of DS, unless told
    otherwise.

    With --json: the attributes of shardpack.AppendReport.
    """
    options["classes"] = _classes(options["classes"], classes_from)
    with progress_bar(quiet=quiet) as progress:
        announce = partial(note, quiet=quiet or as_json)
        report = shardpack.append(source, dataset, progress=progress, announce=announce, **options)
    said = f" ({report.replaced:,} in place of old ones)" if report.replaced else ""
    print_edit(report, f"{plural(report.added, 'sample')}{said}", as_json=as_json, quiet=quiet)
    if not (as_json or quiet) and report.new_fields and report.added < report.num_samples:
        note(
            f"  only these samples have {', '.join(report.new_fields)}; if all are to be alike, "
            'give the options with which the dataset was packed ("shardpack info" shows them)'
        )
    if not (as_json or quiet) and report.packed is not None and report.packed.rejected:
        name, reason = report.packed.rejected[0]
        note(f"  left out {plural(len(report.packed.rejected), 'sample')}, the first: {name!r}: {reason}")


def _classes(names: str | None, lines: Iterable[str] | None) -> Any:
    if names is not None and lines is not None:
        raise click.UsageError("--classes and --classes-from say the same; leave one out")
    if lines is not None:
        try:
            found = [line.strip() for line in lines if line.strip()]
        except UnicodeDecodeError as error:
            raise click.UsageError(
                f"the file of --classes-from is not UTF-8: {error.reason}; save it as that"
            ) from error
        if not found:
            raise click.UsageError("the file of --classes-from names no class; write one in each line, or leave it out")
        return found
    return names if names in (None, "same") else [name.strip() for name in str(names).split(",")]

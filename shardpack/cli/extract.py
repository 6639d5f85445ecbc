"""`shardpack extract`."""

from __future__ import annotations

from fnmatch import fnmatchcase

import click

import shardpack
from shardpack.cli.ui import dataset_argument, json_option, note, print_json, progress_bar, quiet_option


@click.command("extract", epilog="Example: shardpack extract out/ photos/ --match 'cat/*' --field json")
@dataset_argument
@click.argument("out", metavar="OUT", type=click.Path())
@click.option("--key", "keys", multiple=True, metavar="KEY", help="Only this sample; may be given many times.")
@click.option("--match", metavar="GLOB", help="Only keys that match this pattern.")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Only this field; may be given many times.")
@click.option("--unescape", is_flag=True, help="Undo --rename-keys: files get their original names.")
@click.option("--dry-run", is_flag=True, help="Say how many samples; write nothing.")
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@json_option
@quiet_option
def command(
    dataset: str, out: str, keys: tuple[str, ...], match: str | None, fields: tuple[str, ...], unescape: bool,
    dry_run: bool, force: bool, as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Write the samples of DS to OUT as files, <key>.<field>, byte for byte as they were packed."""
    ds = shardpack.open(dataset, verify=True)
    chosen: list[str | int] | None = list(keys) or None
    if match is not None:
        matching = [i for i, key in enumerate(ds.keys()) if fnmatchcase(key, match)]
        chosen = [*(chosen or []), *matching]
    if dry_run:
        count, files = len(ds) if chosen is None else len(chosen), 0
    else:
        with progress_bar(quiet=quiet) as progress:
            files = shardpack.extract(
                ds, out, keys=chosen, fields=fields or None, unescape=unescape, force=force, progress=progress
            )
        count = len(ds) if chosen is None else len(chosen)
    if as_json:
        print_json({"out": out, "num_samples": count, "num_files": files, "dry_run": dry_run})
    else:
        verb = f"would extract {count:,} samples" if dry_run else f"extracted {count:,} samples, {files:,} files"
        note(f"{verb} to {out}", quiet=quiet)

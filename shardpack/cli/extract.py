"""`shardpack extract`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import click

import shardpack
from shardpack.cli.command import Command
from shardpack.cli.ui import (
    access_options,
    dataset_argument,
    generation_option,
    json_option,
    note,
    plural,
    print_json,
    progress_bar,
    quiet_option,
)
from shardpack.errors import OptionError
from shardpack.export.files import refuse_folder_of
from shardpack.storage.url import local_path


@click.command("extract", cls=Command, epilog="Example: shardpack extract out/ photos/ --match 'cat/*' --field json")
@dataset_argument
@click.argument("out", metavar="OUT", type=click.Path())
@click.option(
    "--key", "keys", multiple=True, metavar="KEY", help="Only the sample with this key; may be given many times."
)
@click.option("--match", metavar="GLOB", help="Only keys that match this pattern.")
@click.option("--field", "fields", multiple=True, metavar="FIELD", help="Only this field; may be given many times.")
@click.option("--unescape", is_flag=True, help="Undo --rename-keys: files get their original names.")
@click.option("--dry-run", is_flag=True, help="Show how many samples and files would be written; write nothing.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@access_options
@generation_option
@json_option
@quiet_option
def command(
    dataset: str,
    out: str,
    keys: tuple[str, ...],
    match: str | None,
    fields: tuple[str, ...],
    unescape: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
    quiet: bool,
    **access: Any,
) -> None:
    """Write the samples of DS to OUT as files, <key>.<field>, byte for byte as they were packed.

    Compares each payload with its checksum. With both --key and --match, writes the samples that either
    of them names. With --json: out, num_samples, num_files, dry_run.
    """
    folder = local_path(out)
    if folder is None:
        raise OptionError("extract writes to a folder; to fill a bucket, use: shardpack copy")
    ds = shardpack.open(dataset, verify=True, **access)
    if keys or match is not None:
        matching = [] if match is None else [i for i, key in enumerate(ds.keys()) if fnmatchcase(key, match)]
        if match is not None and not matching:
            note(f"no key matches {match!r}", quiet=quiet)
        named = (entry.position for entry in ds.locate(list(keys)))
        ds = ds.select(sorted({*named, *matching}))
    if dry_run:
        refuse_folder_of(ds, folder)
        checked = ds.stream_input(fields or None).wanted_fields  # None: all
        files = sum(len(e.fields if checked is None else e.fields.keys() & set(checked)) for e in ds.entries())
    else:
        with progress_bar(quiet=quiet) as progress:
            files = shardpack.extract(
                ds, folder, fields=fields or None, unescape=unescape, force=force, progress=progress
            )
    if as_json:
        print_json({"out": out, "num_samples": len(ds), "num_files": files, "dry_run": dry_run})
    else:
        verb = "would extract" if dry_run else "extracted"
        note(f"{verb} {plural(len(ds), 'sample')}, {plural(files, 'file')} to {out}", quiet=quiet)

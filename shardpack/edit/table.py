"""Make the label table of a dataset: the next generation has a row for each sample, and the same samples."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from shardpack.edit.base import EditBase, open_base
from shardpack.edit.report import EditReport
from shardpack.errors import OptionError
from shardpack.format.layout import file_path
from shardpack.format.next_generation import next_generation
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.open import Writable
from shardpack.table.build import Built, all_positions, read_rows, write_rows
from shardpack.table.libraries import pyarrow_module
from shardpack.table.rows import Naming
from shardpack.table.update import named


def table(
    dataset: Writable,
    *,
    force: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    single_writer: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> EditReport:
    """Make the label table of a dataset, which `Dataset.where` and `Dataset.table` read; return a report.

    Reads all labels, and the first bytes of each image. Makes the next generation, in which nothing but the table is
    new; edits keep the table up to date. A dataset that has a table stays as it is.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        force: Make the table anew where there is one.
        storage_options, allow_locations: As `shardpack.open` takes them.
        work_dir: Local folder for the finished files until they are written to the dataset. Default: the temporary
            folder.
        single_writer: Promise that nobody else edits the dataset meanwhile: only for stores that cannot create an
            object only if it is absent.
        dry_run: Return what would be done, but write nothing.
        progress: Called as progress("table", samples done, all samples).

    Returns:
        `added` is the number of rows, those of deleted samples included.

    Raises:
        DecodeError: A label is not what its field's name says; names the sample.
        OptionError: The dataset has no samples, or an option does not fit the location.
        OutputExistsError: Another edit came first, or another process is writing there. Nothing has changed.
        MissingDependencyError: pyarrow is not installed.
        StorageError: Reading or writing failed.

    Example:
        >>> report = shardpack.table("out/", dry_run=True)
        >>> report.added
        1
    """
    began = time.perf_counter()
    pyarrow_module()
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations, work_dir=work_dir)
    if dry_run:
        return _report(base, began, done=bool(base.manifest.table) and not force, dry_run=True)
    with base.begin("table", run_digest=str(force), single_writer=single_writer) as transaction:
        base = base.of(transaction)
        if transaction.complete or (base.manifest.table and not force):
            return _report(base, began, done=True)
        with TemporaryDirectory(prefix="shardpack-table-", dir=work_dir) as folder:
            built = _build(base, folder, progress)
            files = named(built, generation=transaction.generation)
            for file, path in files:
                with open(path, "rb") as written:
                    transaction.put(file_path(file), [written.read()])
        manifest, rest = next_generation(
            base.manifest,
            base.text,
            table=[file for file, _ in files],
            edit={"command": "table", "rows": base.manifest.num_samples},
        )
        transaction.commit(manifest, rest)
    return _report(base, began)


def _build(base: EditBase, folder: str, progress: Progress) -> Built:
    count = base.manifest.num_samples
    if not count:
        raise OptionError(
            f"the dataset in {base.location!r} has no samples, so that a table of it is empty; append some"
        )
    naming = Naming(base.manifest.classes, base.cache.splits)
    rows = read_rows(base.cache, all_positions(count), naming)
    return write_rows(rows, folder, total=count, progress=progress)


def _report(base: EditBase, began: float, *, done: bool = False, dry_run: bool = False) -> EditReport:
    """Return the report; if there was nothing to do, `base` has the table."""
    manifest = base.manifest
    return EditReport(
        command="table",
        location=base.location,
        generation=manifest.generation + (not done),
        parent=manifest.generation,
        num_samples=manifest.num_visible,
        added=0 if done else manifest.num_samples,
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )

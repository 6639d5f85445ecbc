"""Write files that describe tars, to a folder of their own or beside the tars: all of them, or none."""

from __future__ import annotations

import os
import shutil
from typing import Any

from shardpack.errors import OptionError, OutputExistsError
from shardpack.export.exporter import Exportable, ExportOptions, ExportReport, IndexExporter
from shardpack.export.staging import INDEX_STAGING_NAME, ExportFiles, lock_staging
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors
from shardpack.storage.url import is_url, local_path


def export_index(
    exporter_class: Any,
    to: str,
    dataset: Exportable,
    out: str | None,
    options: ExportOptions,
    *,
    force: bool,
    dry_run: bool,
    progress: Progress = no_progress,
) -> ExportReport:
    """Write the files of an `IndexExporter`; arguments and errors as for `export`."""
    folder = _beside(to, dataset) if out is None else out
    exporter: IndexExporter = exporter_class.of(dataset, options, beside=out is None)
    names = list(exporter.names)
    taken = [name for name in names if os.path.lexists(os.path.join(folder, name))]
    if taken and not force:
        raise OutputExistsError(
            f"file exists: {os.path.join(folder, taken[0])!r}; choose another folder, or pass force=True (--force)"
        )
    report = ExportReport(
        out=folder,
        to=to,
        num_samples=len(dataset),
        num_bytes=0,
        num_files=0 if dry_run else len(names),
        dry_run=dry_run,
    )
    if not dry_run:
        with storage_errors(f"write to {folder!r}", then="repeat"):
            _write(exporter, names, folder, progress)
    return report


def _write(exporter: IndexExporter, names: list[str], folder: str, progress: Progress) -> None:
    """Write all files under a temporary folder, locked, then move each to its place.

    Raises:
        OutputExistsError: Another process is doing so.
    """
    temporary = os.path.join(folder, INDEX_STAGING_NAME)
    os.makedirs(temporary, exist_ok=True)
    lock = lock_staging(temporary, shared=False)
    files = ExportFiles(os.path.join(temporary, "files"), os.path.join(temporary, "scrap"))
    try:
        for of_a_killed_run in (files.root, files.scrap_root):
            shutil.rmtree(of_a_killed_run, ignore_errors=True)
        exporter.write(files, progress)
        files.sync()
        for name in names:
            place = os.path.join(folder, name)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.replace(os.path.join(files.root, name), place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        lock.release()


def _beside(to: str, dataset: Exportable) -> str:
    """Return the folder of a dataset.

    Raises:
        OptionError: It is not on a disk of this machine.
    """
    folder = None if is_url(dataset.location) and not dataset.location.startswith("file:") else dataset.location
    if folder is None or (path := local_path(folder)) is None or not os.path.isdir(path):
        raise OptionError(f"{to} is written beside the tars, but {dataset.location!r} is not a folder; name one, OUT")
    return path

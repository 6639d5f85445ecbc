"""Make the label table of a dataset: the next generation has a row for each sample, and the same samples."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shardpack.commit.edit_transaction import EditTransaction
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.report import EditReport
from shardpack.errors import OptionError
from shardpack.format.layout import file_path
from shardpack.format.next_generation import next_generation
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.processes import default_jobs, start_workers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.open import Writable
from shardpack.table.build import FILE_ROWS, Built, finished_files, part_paths, write_rows
from shardpack.table.libraries import pyarrow_module
from shardpack.table.packed_rows import PackedRows
from shardpack.table.rows import Naming
from shardpack.table.tasks import num_tasks, rows_of_dataset
from shardpack.table.update import named

_ROW_BYTES = 4096  # about what is read for a row: a label, and the head of an image


def table(
    dataset: Writable,
    *,
    force: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    single_writer: bool = False,
    jobs: int | None = None,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> EditReport:
    """Make the label table of a dataset, which `Dataset.where` and `Dataset.table` read; return a report.

    Reads all labels, and the first bytes of each image. Makes the next generation, in which nothing but the table is
    new; edits keep the table up to date. A dataset that has a table stays as it is. The same call continues one that
    was killed, behind the files of a million rows that it finished.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        force: Make the table anew where there is one.
        storage_options, allow_locations: As `shardpack.open` takes them.
        work_dir: Local folder for files on their way to a bucket. Default: the temporary folder.
        single_writer: Promise that nobody else edits the dataset meanwhile: only for stores that cannot create an
            object only if it is absent.
        jobs: Worker processes, whose number does not change the table; by default one per core, fewer for a small
            dataset.
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
    if jobs is not None:
        jobs = as_integer("jobs", jobs, minimum=1)
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations, work_dir=work_dir)
    if dry_run:
        _refuse_empty(base)
        return _report(base, began, done=bool(base.manifest.table) and not force, dry_run=True)
    return make_table(base, force=force, work_dir=work_dir, single_writer=single_writer, jobs=jobs, progress=progress)


def make_table(
    base: EditBase,
    *,
    force: bool = False,
    work_dir: str | os.PathLike[str] | None = None,
    single_writer: bool = False,
    jobs: int | None = None,
    progress: Progress = no_progress,
    packed: PackedRows | None = None,
    file_rows: int = FILE_ROWS,
) -> EditReport:
    """Make the label table of a dataset; arguments and errors as for `table`.

    Args:
        packed: Rows that were made while the dataset was packed; of samples that have one there nothing is read.
        file_rows: Rows of a file.
    """
    began = time.perf_counter()
    with base.begin("table", run_digest=str(force), single_writer=single_writer) as transaction:
        base = base.of(transaction)
        if transaction.complete or (base.manifest.table and not force):
            return _report(base, began, done=True)
        _refuse_empty(base)
        jobs = _useful_jobs(base, jobs, packed)
        with _workplace(base, transaction, work_dir) as work:
            built = _build(base, work, jobs=jobs, packed=packed, file_rows=file_rows, progress=progress)
            files = named(built, generation=transaction.generation)
            for file, path in files:
                transaction.put(file_path(file), [Path(path).read_bytes()])
        manifest, rest = next_generation(
            base.manifest,
            base.text,
            table=[file for file, _ in files],
            edit={"command": "table", "rows": base.manifest.num_samples},
        )
        transaction.commit(manifest, rest)
    return _report(base, began)


def _useful_jobs(base: EditBase, jobs: int | None, packed: PackedRows | None) -> int:
    """Return how many jobs there is work for; `jobs` as users give it."""
    if packed is not None and packed.has_all(base.cache.shard_list, base.manifest.classes):
        return 1
    return min(_default_jobs(base) if jobs is None else jobs, num_tasks(base.manifest.num_samples))


def _default_jobs(base: EditBase) -> int:
    """Return one job for a dataset in memory, which other processes would get as a copy."""
    shared = all(store.remote or store.folder is not None for store in (base.store, *base.cache.stores.tars))
    return default_jobs(base.manifest.num_samples * _ROW_BYTES) if shared else 1


def _refuse_empty(base: EditBase) -> None:
    if not base.manifest.num_samples:
        raise OptionError(
            f"the dataset in {base.location!r} has no samples, so that a table of it is empty; append some"
        )


@dataclass(frozen=True, slots=True)
class _Workplace:
    """Where files are written until they are put.

    Attributes:
        folder: A local folder, with the files that a run which this one continues has finished.
        keep: Called with each full file.
    """

    folder: str
    keep: Callable[[str], None] = lambda _: None


@contextmanager
def _workplace(
    base: EditBase, transaction: EditTransaction, work_dir: str | os.PathLike[str] | None
) -> Iterator[_Workplace]:
    """Yield the edit's own folder; for one in a bucket a local copy, of which full files are kept there, too."""
    place = f"{transaction.folder}/{base.cache.manifest_crc32c:08x}"
    if base.store.folder is not None:
        folder = os.path.join(base.store.folder, place)
        with transaction.write_errors():
            os.makedirs(folder, exist_ok=True)
            yield _Workplace(folder)
        return

    def keep(path: str) -> None:
        with open(path, "rb") as file:
            transaction.put(f"{place}/{os.path.basename(path)}", [file.read()])

    with TemporaryDirectory(prefix="shardpack-table-", dir=work_dir) as folder:
        kept = set(transaction.target.names_below(place))
        for path in takewhile(lambda path: f"{place}/{os.path.basename(path)}" in kept, part_paths(folder)):
            with open(path, "wb") as file:
                file.write(transaction.target.read(f"{place}/{os.path.basename(path)}") or b"")
        yield _Workplace(folder, keep)


def _build(
    base: EditBase, work: _Workplace, *, jobs: int, packed: PackedRows | None, file_rows: int, progress: Progress
) -> Built:
    finished = finished_files(work.folder)
    with start_workers(jobs) as engine:
        if packed is not None and not finished:
            naming = Naming(base.manifest.classes, base.cache.splits)
            rows = packed.rows(base.cache.shard_list, naming, partial(rows_of_dataset, base.cache, engine))
        else:
            rows = rows_of_dataset(base.cache, engine, sum(file.num_rows for file, _ in finished))
        return write_rows(
            rows,
            work.folder,
            finished=finished,
            total=base.manifest.num_samples,
            progress=progress,
            keep=work.keep,
            file_rows=file_rows,
        )


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

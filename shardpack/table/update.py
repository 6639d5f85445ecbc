"""The table of the next generation, at a cost in proportion to the edit (SPEC 5.7).

    append                      one more base file, with the rows of what is new
    relabel, attach, detach     a patch: rows of the samples whose fields changed
    split                       files with the splits of all samples, and nothing else
    delete                      nothing: the rows of deleted samples stay

Of many patches one is made, and of many short base files. Where patches have more than an eighth of all rows, the base
files are made anew with them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np

from shardpack.errors import MissingDependencyError
from shardpack.format.layout import file_path, table_name
from shardpack.format.manifest import Manifest, TableFile
from shardpack.format.named_files import Parts
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Store
from shardpack.table.build import BATCH_ROWS, FILE_ROWS, Built, all_positions, read_rows, write_rows
from shardpack.table.libraries import pyarrow_module
from shardpack.table.packed_rows import PackedRows
from shardpack.table.parquet import TablePart, write_file
from shardpack.table.read_table import LabelTable, TableFiles, latest_rows
from shardpack.table.rows import Naming, Rows, split_column

MAX_PATCHES = 8
MAX_SHORT = 8  # base files with fewer rows than a full one has
MAX_PATCHED = 8  # base files are made anew where patches have more than one in so many of their rows

Put = Callable[[str, Parts], None]  # writes a new file of the dataset, which the next manifest will name


class Base(Protocol):
    """The generation that is edited."""

    @property
    def store(self) -> Store: ...

    @property
    def manifest(self) -> Manifest: ...


@dataclass(frozen=True, slots=True)
class Change:
    """What an edit changes for the table. What is None does not change.

    Attributes:
        naming: Classes and splits after the edit.
        appended: The samples that come behind the last one, as a dataset of their own; None: `edited` has them.
        packed: Rows that were made while `appended` was packed; of samples that have one there nothing is read.
        edited: The dataset as it is after the edit, to read what changed.
        changed: (n) stored positions of the samples whose labels or images changed, ascending; read from `edited`.
        new_splits: Whether samples that were there before are in other splits.
    """

    naming: Naming
    appended: ShardCache | None = None
    packed: PackedRows | None = None
    edited: ShardCache | None = None
    changed: Integers | None = None
    new_splits: bool = False


@dataclass(frozen=True, slots=True)
class TableUpdate:
    """The table of the next generation.

    Attributes:
        table: Its files, as the manifest names them; none if there was no table, or it was dropped.
        dropped: Why the table was dropped, and how to make it anew; empty if it was not.
    """

    table: tuple[TableFile, ...]
    dropped: str = ""


def updated_table(
    base: Base,
    change: Change,
    *,
    put: Put,
    work_dir: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> TableUpdate:
    """Return the table after an edit, with its new files written.

    Args:
        base: The generation that is edited.
        change: What the edit changes.
        put: Writes a file, such as `EditTransaction.put`. Nothing that a manifest names is written again.
        work_dir: Local folder for files until they are put. Default: the temporary folder.
        progress: Called as progress("table", rows done, total).

    Raises:
        DecodeError: A new label is not what its field's name says.
        CorruptIndexError: A file of the table is damaged.
    """
    if not base.manifest.table:
        return TableUpdate(())
    try:
        pyarrow_module()
    except MissingDependencyError as error:
        return TableUpdate((), f'the label table is dropped, as {error}, then "shardpack table {base.store.location}"')
    with TemporaryDirectory(prefix="shardpack-table-", dir=work_dir) as folder:
        return _Updater(base, change, put, folder, progress).run()


def named(built: Built, *, generation: int) -> list[tuple[TableFile, str]]:
    """Return finished files as the manifest of a generation names them, and where they are."""
    return [
        (TableFile(table_name(generation, file.crc32c), file.num_bytes, file.crc32c, file.num_rows), file.path)
        for file in built.files
    ]


class _Updater:
    def __init__(self, base: Base, change: Change, put: Put, folder: str, progress: Progress) -> None:
        self._manifest, self._change, self._put, self._progress = base.manifest, change, put, progress
        self._store, self._folder = base.store, folder
        self._local = LocalStore(folder)  # the new files, by the names that they will have
        self._new: list[TableFile] = []
        self._types = LabelTable.open(base.store, base.manifest).types

    def run(self) -> TableUpdate:
        changed = np.zeros(0, np.int64) if self._change.changed is None else self._change.changed
        files = self._changed_rows(changed, self._manifest.num_samples)
        if (rows := self._appended_rows()) is not None:
            base = files.base + self._written(rows)
            if (joined := _files_to_join(base)) > 1:
                last = [self._part(file) for file in base[-joined:]]
                base = base[:-joined] + self._written(_rows_of(last))
            files = replace(files, base=base)
        table = files.all
        for file in self._new:
            if file in table:
                self._put(file_path(file), [self._local.get(file_path(file))])
        return TableUpdate(table)

    def _changed_rows(self, changed: Integers, count: int) -> TableFiles:
        """Write what the samples at some positions have now, and the splits of all if they are others."""
        change, files = self._change, TableFiles.of(self._manifest)
        if len(changed) * MAX_PATCHED > count and change.edited is not None:
            rows = read_rows(change.edited, all_positions(count), change.naming)
            return TableFiles(self._written(rows))
        if len(changed) and change.edited is not None:
            pieces = [changed[at : at + BATCH_ROWS] for at in range(0, len(changed), BATCH_ROWS)]
            files = replace(
                files, patches=files.patches + self._written(read_rows(change.edited, pieces, change.naming))
            )
        if sum(file.num_samples for file in files.patches) * MAX_PATCHED > count:
            return TableFiles(self._written(self._rows_anew(files)))
        if len(files.patches) > MAX_PATCHES:
            files = replace(files, patches=self._written([latest_rows([self._part(file) for file in files.patches])]))
        if change.new_splits:
            firsts = range(0, count, FILE_ROWS)
            files = replace(files, splits=tuple(self._written_splits(n, min(n + FILE_ROWS, count)) for n in firsts))
        return files

    def _appended_rows(self) -> Iterator[Rows] | None:
        change, count = self._change, self._manifest.num_samples
        if (appended := change.appended) is not None:

            def read(begin: int, end: int) -> Iterator[Rows]:
                return read_rows(appended, all_positions(end, first=begin), change.naming, first=count)

            if change.packed is None:
                return read(0, appended.manifest.num_samples)
            return change.packed.rows(appended.shard_list, change.naming, read, first=count)
        if change.edited is not None and (end := change.edited.manifest.num_samples) > count:
            return read_rows(change.edited, all_positions(end, first=count), change.naming)
        return None

    def _written(self, rows: Iterator[Rows] | Sequence[Rows]) -> tuple[TableFile, ...]:
        with TemporaryDirectory(dir=self._folder) as folder:
            built = write_rows(
                rows, folder, types=self._types, total=self._manifest.num_samples, progress=self._progress
            )
            self._types = built.types
            files = named(built, generation=self._manifest.generation + 1)
            return tuple(self._keep(file, path) for file, path in files)

    def _written_splits(self, first: int, end: int) -> TableFile:
        positions, pa = np.arange(first, end), pyarrow_module()
        splits = {"position": positions, "split": split_column(positions, self._change.naming.splits)}
        file = write_file(os.path.join(self._folder, "splits.parquet"), pa.table(splits), {})
        self._progress("table", end, self._manifest.num_samples)
        name = table_name(self._manifest.generation + 1, file.crc32c, of_splits=True)
        return self._keep(TableFile(name, file.num_bytes, file.crc32c, file.num_rows), file.path)

    def _keep(self, file: TableFile, path: str) -> TableFile:
        """Move a new file to where it is read from, and put from if the table has it in the end; return it."""
        final = os.path.join(self._folder, file_path(file))
        os.makedirs(os.path.dirname(final), exist_ok=True)
        os.replace(path, final)
        self._new.append(file)
        return file

    def _part(self, file: TableFile) -> TablePart:
        return TablePart(self._local if file in self._new else self._store, file)

    def _rows_anew(self, files: TableFiles) -> Iterator[Rows]:
        """Yield all rows with the patches in them, and with the splits of now."""
        table = LabelTable.of_files(files, self._part)
        pa = pyarrow_module()
        for first, count, columns in table.pieces(table.columns):
            columns["split"] = split_column(np.arange(first, first + count), self._change.naming.splits)
            yield Rows(pa.table(columns), table.types)


def _files_to_join(files: Sequence[TableFile]) -> int:
    """Return how many of the last base files are written as one: 0, or few enough that the cost stays in proportion."""
    short = 0
    while short < len(files) and files[-1 - short].num_samples < FILE_ROWS:
        short += 1
    if short <= MAX_SHORT:
        return 0
    count, rows = 2, sum(file.num_samples for file in files[-2:])
    while count < short and files[-1 - count].num_samples <= rows:
        rows += files[-1 - count].num_samples
        count += 1
    return count


def _rows_of(parts: Sequence[TablePart]) -> Iterator[Rows]:
    table = LabelTable(parts, [])
    for piece in table.pieces(table.columns):
        yield Rows(pyarrow_module().table(piece.columns), table.types)

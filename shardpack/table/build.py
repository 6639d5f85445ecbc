"""Rows of all samples of a dataset, in files of a local folder.

positions --8,192 at a time--> facts --> rows --> files of 1,048,576 rows --what has another type at the end--> again

A run that is killed leaves files that are finished; the next one goes on behind them. Where the folder would be lost,
too, `keep` brings full files elsewhere.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.table.heads import FactFields, read_facts
from shardpack.table.libraries import parquet_module, pyarrow_module
from shardpack.table.parquet import WrittenFile, finished_file, write_file
from shardpack.table.rows import Naming, Rows, conform, make_rows
from shardpack.table.schema import Types, merge_types

FILE_ROWS = 1 << 20
FILE_BYTES = 256 << 20  # of rows in memory; with longer rows, a file has fewer
BATCH_ROWS = 8192


FinishedFile = tuple[WrittenFile, Types]  # with the types of the label columns up to its rows


@dataclass(frozen=True, slots=True)
class Built:
    """A finished table.

    Attributes:
        files: In the order of positions.
        types: Of the label columns of all files.
    """

    files: tuple[WrittenFile, ...]
    types: Types


def read_rows(cache: ShardCache, pieces: Iterable[Integers], naming: Naming, *, first: int = 0) -> Iterator[Rows]:
    """Yield the rows of samples at ascending stored positions, some at a time.

    Args:
        cache: The open shards.
        pieces: The positions.
        naming: Classes and splits of the dataset that the rows are for.
        first: What is added to the positions in the rows: where the first sample of these shards stands there.

    Raises:
        DecodeError: A label is not what its field's name says.
    """
    fields = FactFields.among(cache.manifest.fields)
    for piece in pieces:
        done = 0
        for facts in read_facts(cache, piece, fields):
            positions = piece[done : done + len(facts)] + first
            done += len(facts)
            yield make_rows(facts, positions, naming)


def write_rows(
    rows: Iterable[Rows],
    folder: str,
    *,
    types: Types | None = None,
    finished: Sequence[FinishedFile] = (),
    total: int = 0,
    progress: Progress = no_progress,
    keep: Callable[[str], None] = lambda _: None,
    file_rows: int = FILE_ROWS,
    file_bytes: int = FILE_BYTES,
) -> Built:
    """Write rows to files; return these. The bytes do not depend on how the rows come.

    Args:
        rows: In the order of positions.
        folder: A local folder, without files but for those that are finished.
        types: Columns that come first, in the order and of the types that a table has already.
        finished: Files of the rows before these, as `finished_files` returns them.
        total: Number of samples, for progress("table", samples done, total).
        progress: Called after each batch.
        keep: Called with the path of each full file. At the end files may be written again, with other types.
        file_rows, file_bytes: A file ends when it has so many rows, or before so many bytes in memory.
    """
    writer = _Writer(folder, dict(types or {}), finished, keep=keep, file_rows=file_rows, file_bytes=file_bytes)
    done = sum(file.num_rows for file, _ in finished)
    if done:
        progress("table", done, total)
    for some in rows:
        writer.add(some)
        done += len(some)
        progress("table", done, total)
    return writer.finish()


def finished_files(folder: str) -> list[FinishedFile]:
    """Return the files, from the first on, that a killed run of `write_rows` has left in a folder."""
    finished: list[FinishedFile] = []
    while (file := finished_file(_file_path(folder, len(finished)))) is not None:
        finished.append(file)
    return finished


def part_paths(folder: str) -> Iterator[str]:
    """Yield the paths that files get in a folder, one after the other, without end."""
    return (_file_path(folder, number) for number in itertools.count())


def _file_path(folder: str, number: int) -> str:
    return os.path.join(folder, f"{number:06d}.parquet")


class _Writer:
    """Collects rows, and writes a file whenever there are enough."""

    def __init__(
        self,
        folder: str,
        types: Types,
        finished: Sequence[FinishedFile],
        *,
        keep: Callable[[str], None],
        file_rows: int,
        file_bytes: int,
    ) -> None:
        self._folder, self._types, self._keep = folder, types, keep
        self._file_rows, self._file_bytes = file_rows, file_bytes
        self._held: list[Rows] = []
        self._held_rows = self._held_bytes = 0
        self._files = list(finished)
        for _, own in finished:
            self._types = merge_types(self._types, own)

    def add(self, rows: Rows) -> None:
        at = 0
        while at < len(rows):
            count = self._fitting(rows, at)
            part = Rows(rows.table.slice(at, count), rows.types)
            self._held.append(part)
            self._held_rows, self._held_bytes = self._held_rows + count, self._held_bytes + part.table.nbytes
            at += count
            if self._held_rows == self._file_rows or self._held_bytes >= self._file_bytes:
                self._flush()
                self._keep(self._files[-1][0].path)

    def _fitting(self, rows: Rows, at: int) -> int:
        """Return how many of the rows go to the current file."""
        return min(len(rows) - at, self._file_rows - self._held_rows)

    def _flush(self) -> None:
        if not self._held:
            return
        for rows in self._held:
            self._types = merge_types(self._types, rows.types)
        table = joined([conform(rows, self._types) for rows in self._held])
        path = _file_path(self._folder, len(self._files))
        self._files.append((write_file(path, table, self._types), self._types))
        self._held, self._held_rows, self._held_bytes = [], 0, 0

    def finish(self) -> Built:
        self._flush()
        files = []
        for file, types in self._files:
            if list(types.items()) == list(self._types.items()):
                files.append(file)
                continue
            with parquet_module().ParquetFile(file.path, pre_buffer=False) as written:
                rows = Rows(written.read(use_threads=False), types)  # see `TablePart.read`
            files.append(write_file(file.path, conform(rows, self._types), self._types))
        return Built(tuple(files), self._types)


def joined(tables: list[object]) -> object:
    """Return tables with the same columns, but for `more`, as one."""
    pa = pyarrow_module()
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def all_positions(count: int, batch_rows: int = BATCH_ROWS, *, first: int = 0) -> Iterator[Integers]:
    """Yield the stored positions of a dataset from `first` on, some at a time."""
    for begin in range(first, count, batch_rows):
        yield np.arange(begin, min(begin + batch_rows, count), dtype=np.int64)

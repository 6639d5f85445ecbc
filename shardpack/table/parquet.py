"""One file of the table: written, opened, and its columns read.

key, position, bytes    deltas            position ascends by one, keys share their beginnings
floats                  dictionary where values repeat, else as they are
all others              dictionary
zstd; row groups of 65,536 rows, with smallest and largest values; a checksum for each page
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.errors import CorruptIndexError, ObjectTooLargeError, ShardNotFoundError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import file_path
from shardpack.format.manifest import TableFile
from shardpack.storage.atomic import fsync_file
from shardpack.storage.coalesce import coalesce
from shardpack.storage.protocols import Store
from shardpack.table.libraries import parquet_module, pyarrow_module
from shardpack.table.schema import MORE, OWN, Types, arrow_type, metadata_of, types_of
from shardpack.table.sparse_file import Rehearsal, SparseFile

GROUP_ROWS = 1 << 16
WHOLE_BYTES = 4 << 20  # a file up to this length is read, and checked, at once
FOOTER_BYTES = 64 << 10  # read of a longer remote one at first, from its end
MAX_GROUP_BYTES = 8 << 30  # of a row group, as its footer says: more is not read

_ADVICE = 'make the table anew with "shardpack table --force"'
SPLIT_COLUMNS = ("position", "split")  # of the file that has nothing else
_DELTAS = {"key": "DELTA_BYTE_ARRAY", "position": "DELTA_BINARY_PACKED", "bytes": "DELTA_BINARY_PACKED"}
_TRIED_ROWS = 4096  # of which a column of floats tells whether its values repeat


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file of the table in a local folder, not yet named."""

    path: str
    num_bytes: int
    crc32c: int
    num_rows: int


def write_file(path: str, table: Any, types: Types) -> WrittenFile:
    """Write a table with the label columns that `types` describes; equal tables give equal bytes.

    The file is complete under its name, or does not exist.
    """
    parquet = parquet_module()
    table = table.replace_schema_metadata(metadata_of(types))
    temporary = f"{path}.tmp"
    parquet.write_table(
        table,
        temporary,
        row_group_size=GROUP_ROWS,
        compression="zstd",
        use_dictionary=[name for name in table.column_names if _repeats(name, table)],
        column_encoding={name: kind for name, kind in _DELTAS.items() if name in table.column_names},
        write_page_checksum=True,
    )
    fsync_file(temporary)
    os.replace(temporary, path)
    return _measured(path, table.num_rows)


def finished_file(path: str) -> tuple[WrittenFile, Types] | None:
    """Return a file that `write_file` wrote in an earlier run, and its types; None if it did not finish it."""
    parquet = parquet_module()
    try:
        with parquet.ParquetFile(path) as file:
            num_rows, types = file.metadata.num_rows, types_of(file.schema_arrow.metadata)
    except (OSError, ValueError):
        return None
    return None if types is None else (_measured(path, num_rows), types)


def _repeats(name: str, table: Any) -> bool:
    if name in _DELTAS:
        return False
    if table.schema.field(name).type != pyarrow_module().float64():
        return True
    tried = table[name].slice(0, _TRIED_ROWS)
    return len(tried.unique()) * 2 <= len(tried)


def _measured(path: str, num_rows: int) -> WrittenFile:
    checksum = 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            checksum = crc32c(data, checksum)
    return WrittenFile(path, os.path.getsize(path), checksum, num_rows)


class TablePart:
    """One file of a dataset's table, open for reading. Not safe in threads.

    Attributes:
        num_rows: Number of rows.
        columns: Names of its columns.
        types: Types of its label columns.
    """

    def __init__(self, store: Store, file: TableFile) -> None:
        """Open a file: reads all of a short one, or the footer of a long remote one with one or two requests.

        Raises:
            ShardNotFoundError: The file is missing.
            CorruptIndexError: It is not what the manifest says.
            UnsupportedVersionError: It was written by a newer version.
        """
        self._store, self._named, self._path = store, file, file_path(file)
        self._pa, self._parquet = pyarrow_module(), parquet_module()
        self._by_range = store.remote and file.num_bytes > WHOLE_BYTES
        try:
            source = self._footer() if self._by_range else self._whole()
        except ShardNotFoundError as error:
            raise ShardNotFoundError(
                f"file of the label table is missing; restore it, or {_ADVICE}", path=self._path
            ) from error
        with self._reading():
            self._file = self._open(source)
            self._metadata, schema = self._file.metadata, self._file.schema_arrow
        self.num_rows: int = self._metadata.num_rows
        self.columns: tuple[str, ...] = tuple(schema.names)
        if self.num_rows != file.num_samples:
            raise self.damaged(f"expected {file.num_samples} rows, got {self.num_rows}")
        types = types_of(schema.metadata)
        if types is None:
            raise UnsupportedVersionError(
                "file of the label table does not say what its columns are; it is of a newer version of shardpack, or "
                f"of another program; {_ADVICE}",
                path=self._path,
            )
        self.types = types
        self._check(schema, SPLIT_COLUMNS if file.has_splits_only else OWN)

    def _open(self, source: Any, metadata: Any = None) -> Any:
        return self._parquet.ParquetFile(
            source,
            metadata=metadata,
            page_checksum_verification=True,
            pre_buffer=False,
            read_dictionary=None if self._named.has_splits_only else ["class"],
        )

    def _whole(self) -> Any:
        file = self._named
        try:
            data = self._store.get(self._path, max_bytes=file.num_bytes)
        except ObjectTooLargeError as error:
            raise self.damaged(f"expected {file.num_bytes} bytes, got more") from error
        if len(data) != file.num_bytes:
            raise self.damaged(f"expected {file.num_bytes} bytes, got {len(data)}")
        if file.num_bytes <= WHOLE_BYTES and (checksum := crc32c(data)) != file.crc32c:
            raise self.damaged(f"expected the CRC32C {file.crc32c:08x}, got {checksum:08x}")
        return self._pa.BufferReader(self._pa.py_buffer(data))

    def _footer(self) -> Any:
        """Return the end of the file, from its footer on."""
        num_bytes = self._named.num_bytes
        start = num_bytes - FOOTER_BYTES
        tail = self._store.get_range(self._path, start=start, length=FOOTER_BYTES)
        length = int.from_bytes(tail[-8:-4], "little") + 8  # Parquet, "File format": length of the metadata, then PAR1
        if length > num_bytes:
            raise self.damaged("its footer is longer than the file")
        if length > FOOTER_BYTES:
            start = num_bytes - length
            tail = self._store.get_range(self._path, start=start, length=length)
        return self._pa.PythonFile(SparseFile(num_bytes, [start], [tail], path=self._path), mode="r")

    def _check(self, schema: Any, own: tuple[str, ...]) -> None:
        """Compare the columns with what the metadata says of them."""
        labels = [name for name in self.columns[len(own) :] if name != MORE]
        if self.columns[: len(own)] != own or labels != list(self.types):
            raise self.damaged("its columns are not those that its metadata names")
        for name, kind in self.types.items():
            if schema.field(name).type != arrow_type(kind):
                raise self.damaged(f"column {name!r} is of type {schema.field(name).type}")
        for group in range(self._metadata.num_row_groups):
            if self._metadata.row_group(group).total_byte_size > MAX_GROUP_BYTES:
                raise self.damaged(f"row group {group} is larger than any that is written")

    def read(self, columns: Sequence[str]) -> Any:
        """Return some of its columns as a table; costs their ranges, of a remote file fetched together.

        Raises:
            CorruptIndexError: A page is damaged.
        """
        file = self._open(self._ranges(columns), self._metadata) if self._by_range else self._file
        with self._reading():
            # Threads of Arrow's have been seen to abort a process that ended right after they read.
            return file.read(columns=list(columns), use_threads=False)

    def _ranges(self, columns: Sequence[str]) -> Any:
        """Return the pages of some columns, as a file without all others.

        Arrow opens all columns of a row group before it decodes any, so that it tells of zeros where the pages are. Its
        metadata would tell as well, but ends the process where statistics contradict each other (Arrow 26).
        """
        rehearsal = Rehearsal(self._named.num_bytes)
        file = self._open(self._pa.PythonFile(rehearsal, mode="r"), self._metadata)
        for group in range(self._metadata.num_row_groups):
            with suppress(*_OF_ARROW):  # zeros are no pages; what else is wrong is told when the file is read
                file.read_row_group(group, columns=list(columns), use_threads=False)
        begins, sizes = np.array(sorted(rehearsal.ranges), np.int64).reshape(-1, 2).T
        plan = coalesce(begins, sizes, limits=self._store.merge_limits)
        asked = plan.starts.tolist()
        pieces = self._store.get_ranges(self._path, starts=asked, lengths=plan.lengths.tolist())
        return self._pa.PythonFile(SparseFile(self._named.num_bytes, asked, pieces, path=self._path), mode="r")

    def damaged(self, what: str) -> CorruptIndexError:
        """Return the error for a file that is not what it should be."""
        return CorruptIndexError(
            f"file of the label table is damaged: {what}; restore it, or {_ADVICE}", path=self._path
        )

    def _reading(self) -> _Reading:
        return _Reading(self)


_OF_ARROW = (OSError, ValueError, KeyError, NotImplementedError)


class _Reading:
    """A context in which Arrow's errors become ours."""

    def __init__(self, part: TablePart) -> None:
        self._part = part

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # pyarrow's own errors are of these classes, KeyError for a column that is missing; those of stores pass.
        if isinstance(error, _OF_ARROW) and type(error).__module__ in {"pyarrow.lib", "builtins"}:
            lacks = isinstance(error, KeyError)
            what = "it lacks the column 'class'" if lacks else " ".join(str(error).split())[:200]
            raise self._part.damaged(what) from error


def all_columns(parts: Iterable[TablePart], types: Types) -> tuple[str, ...]:
    """Return the names of the columns of several files together, in their order."""
    more = any(MORE in part.columns for part in parts)
    return (*OWN, *types, *([MORE] if more else []))

"""Arrow IPC files and streams on disk: where their record batches are, and the batches themselves, checked.

    file      ARROW1 ... footer     `ipc.open_file` knows the batches by number
    stream    ff ff ff ff ...       batches are found one after another; a batch is named by the place where it begins

The file is mapped, and what was read of it released again, so that memory is that of the rows at work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.formats.arrow_columns import pyarrow_module, storage_type
from shardpack.storage.file_map import drop_resident, map_with_mmap

FILE_MAGIC, STREAM_MAGIC = b"ARROW1", b"\xff\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Batch:
    """Where a record batch is: its number in a file, the byte where it begins in a stream; and how large it is."""

    number: int
    num_rows: int
    num_bytes: int


class ArrowFile:
    """An open file or stream. A context manager."""

    def __init__(self, path: str) -> None:
        """Map a file and read its schema.

        Raises:
            SourceError: It is empty, or dictionaries of a stream change what its batches mean.
            Exception: pyarrow or the system raised an error of its own, for damaged files.
        """
        pa = pyarrow_module()
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(descriptor).st_size
            if not size:
                raise SourceError("the file is empty; copy it again", path=path)
            self._map = map_with_mmap(descriptor, size)
        finally:
            os.close(descriptor)
        self._buffer = pa.py_buffer(self._map)
        self._reader: Any = None  # of a file, not of a stream
        if self._map[: len(FILE_MAGIC)] == FILE_MAGIC:
            self._reader = pa.ipc.open_file(self._buffer)
            self.schema = self._reader.schema
        else:
            self.schema = pa.ipc.read_schema(self._buffer)
            coded = [field.name for field in self.schema if _has_dictionary(field.type)]
            if coded:
                raise SourceError(
                    f"column {coded[0]!r} of a stream is coded by dictionaries, so that no batch can be read alone; "
                    "write an Arrow file (pyarrow.ipc.new_file), or Parquet",
                    path=path,
                )

    def __enter__(self) -> ArrowFile:
        return self

    def __exit__(self, *_: object) -> None:
        drop_resident(self._map)  # the map ends with the last batch that points into it

    def batches(self) -> list[Batch]:
        """Return where the record batches are; decodes one column at most."""
        if self._reader is not None:
            return list(self._batches_of_file())
        return list(self._batches_of_stream())

    def _batches_of_file(self) -> Iterator[Batch]:
        count = self._reader.num_record_batches
        with _one_column(self._buffer, self.schema, "open_file") as reader:
            for number in range(count):
                yield Batch(number, reader.get_batch(number).num_rows, len(self._buffer) // count)

    def _batches_of_stream(self) -> Iterator[Batch]:
        source = pyarrow_module().BufferReader(self._buffer)
        with _one_column(source, self.schema, "open_stream") as reader:
            start = source.tell()
            for batch in reader:
                stop = source.tell()
                yield Batch(start, batch.num_rows, stop - start)
                start = stop

    def read(self, number: int, first: int, rows_at_once: int) -> Iterator[Any]:
        """Yield a record batch in parts, from a row on, each checked: offsets and texts of damaged files lie.

        Raises:
            Exception: pyarrow raised an error of its own, for damaged files.
        """
        if self._reader is not None:
            batch = self._reader.get_batch(number)
        else:
            ipc = pyarrow_module().ipc
            batch = ipc.read_record_batch(ipc.read_message(self._buffer.slice(number)), self.schema)
        for start in range(first, batch.num_rows, rows_at_once):
            part = batch.slice(start, rows_at_once)
            part.validate(full=True)
            yield part
            drop_resident(self._map)


@contextmanager
def _one_column(source: Any, schema: Any, opener: str) -> Iterator[Any]:
    """Yield a reader of the column that takes least to decode."""
    ipc, types = pyarrow_module().ipc, pyarrow_module().types
    plain = [number for number, field in enumerate(schema) if types.is_primitive(field.type)]
    options = ipc.IpcReadOptions(included_fields=(plain or [0])[:1])
    with getattr(ipc, opener)(source, options=options) as reader:
        yield reader


def _has_dictionary(type_: Any) -> bool:
    types, type_ = pyarrow_module().types, storage_type(type_)
    inner: Sequence[Any] = [type_.field(number).type for number in range(type_.num_fields)]
    return bool(types.is_dictionary(type_)) or any(map(_has_dictionary, inner))

"""HDF5: one dataset a column, as long as there are samples.

    OUT/<split>.h5                       without splits: data.h5
    OUT/<split>-00000-of-00004.h5        if max_file_bytes or max_file_samples cut it

    __key__      text
    image        bytes of any length (vlen uint8); so are other payloads, of no length where a sample lacks one
    <name>       each value of a label: int64, float64, bool or text

A value that is a list or an object, or missing in some samples, is JSON text, and the attribute `encoding` of its
dataset says "json". Text that is missing is empty. The dataset `classes` has the class names, not one for each sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from shardpack.codecs.label_types import json_text
from shardpack.errors import ExportError, MissingDependencyError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.staging import ExportFiles
from shardpack.export.table import KEY, Row, Table, table_of
from shardpack.read.sample import Sample

_ROWS_AT_ONCE, _CHUNK_ROWS = 32, 1024
_TYPES = {"int": "<i8", "long": "<i8", "float": "<f8", "bool": "?"}
CLASSES = "classes"


@dataclass(frozen=True, slots=True)
class Hdf5Exporter:
    """Writes HDF5 files.

    Attributes:
        columns: (name of a value, its type: "text", "json" or that of numpy).
        classes: Class names; None if they are not those of the column `label`, and if a value is called like their
            dataset.
    """

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = None
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(max_bytes=1 << 62)

    table: Table
    columns: tuple[tuple[str, str], ...]
    classes: tuple[str, ...] | None
    version: str

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> Hdf5Exporter:
        """Decide about the columns; see `Exporter.prepare`."""
        table = table_of(contents, options)
        for name, _ in table.types:
            if "/" in name or "\0" in name or name in ("", "."):
                raise OptionError(
                    f"a value of the labels is called {name!r}, which hdf5 cannot hold; leave it out (--drop)"
                )
        columns = tuple(
            (name, "text" if kind.name == "str" else _TYPES.get(kind.name, "json") if name in table.always else "json")
            for name, kind in table.types
        )
        names_label = contents.labels is not None and contents.labels.has_classes
        classes = contents.classes if names_label and CLASSES not in dict(table.types) else None
        if classes is not None and CLASSES in table.payload_columns:
            raise OptionError(
                f"a field would be dataset {CLASSES!r}, which holds class names; choose the other fields (--fields)"
            )
        return cls(table, columns, classes, _h5py().version.hdf5_version)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.table.roles.fields

    @property
    def names_classes(self) -> bool:
        return self.classes is not None

    @property
    def sentence(self) -> str:
        return f"datasets are {self.table.sentence}"

    def row_maker(self) -> Callable[[Sample], Row]:
        """Return the function that makes a row of a sample."""
        make, columns = self.table.row_maker(), self.columns

        def row(sample: Sample) -> Row:
            made = make(sample)
            values = {}
            for name, kind in columns:
                value = made.values.get(name)
                if kind == "text":
                    value = value or ""
                    if "\0" in value:
                        raise ExportError(f"value {name!r} holds a NUL, where text of HDF5 ends; leave the sample out")
                elif kind == "json":
                    value = json_text(value) or "null"
                values[name] = value
            return made._replace(values=values)

        return row

    def write(self, part: Part, rows: Iterator[Row], files: ExportFiles) -> Note:
        """Write one file."""
        h5py = _h5py()
        name = part.split or "data"
        path = files.create(f"{name}.h5" if part.count == 1 else f"{name}-{part.index:05d}-of-{part.count:05d}.h5")
        with h5py.File(path, "w") as file:
            columns = self._create(h5py, file, part.num_samples)
            done = 0
            while group := list(islice(rows, _ROWS_AT_ONCE)):
                for column, values in self._values(group):
                    columns[column][done : done + len(group)] = values
                for column, payloads in self._payloads(group, h5py.vlen_dtype(np.uint8)):
                    _write_payloads(h5py, columns[column], done, payloads)
                done += len(group)
            for column in columns.values():
                column.resize((done,))
            if self.classes is not None:
                file.create_dataset(CLASSES, data=list(self.classes), dtype=h5py.string_dtype())
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else."""

    def _create(self, h5py: Any, file: Any, count: int) -> dict[str, Any]:
        """Return the datasets by column, still empty."""

        def create(name: str, kind: Any) -> Any:
            chunk = (min(_CHUNK_ROWS, count),)
            return file.create_dataset(name, shape=(count,), maxshape=(None,), chunks=chunk, dtype=kind)

        text, payload = h5py.string_dtype(), h5py.vlen_dtype(np.uint8)
        columns = {KEY: create(KEY, text)}
        for name in self.table.payload_columns:
            columns[name] = create(name, payload)
        for name, kind in self.columns:
            columns[name] = create(name, text if kind in ("text", "json") else np.dtype(kind))
            if kind == "json":
                columns[name].attrs["encoding"] = "json"
        return columns

    def _payloads(self, group: Sequence[Row], kind: Any) -> Iterator[tuple[str, Any]]:
        """Yield (column, payloads of these rows)."""
        for name in self.table.payload_columns:
            payloads = np.empty(len(group), kind)
            for number, row in enumerate(group):
                payloads[number] = np.frombuffer(row.payloads.get(name, ("", b""))[1], np.uint8)
            yield name, payloads

    def _values(self, group: Sequence[Row]) -> Iterator[tuple[str, Any]]:
        """Yield (column, other values of these rows)."""
        yield KEY, [row.key for row in group]
        for name, kind in self.columns:
            values = [row.values[name] for row in group]
            yield name, values if kind in ("text", "json") else np.array(values, kind)


def _write_payloads(h5py: Any, dataset: Any, first: int, payloads: Any) -> None:
    """Write arrays of any lengths. `dataset[...] = payloads` would take equal lengths for a second dimension."""
    space = dataset.id.get_space()
    space.select_hyperslab((first,), (len(payloads),))
    in_memory = h5py.h5s.create_simple((len(payloads),))
    dataset.id.write(in_memory, space, payloads, h5py.h5t.py_create(payloads.dtype))


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError('to="hdf5" needs h5py; run pip install "shardpack[hdf5]"') from error
    return h5py

"""Columns of a dataset's table, whatever files it is in.

    base files      rows of all stored positions, one file behind the other
    patches         rows that replace those with their positions; of several, that of the last file counts   (SPEC 5.7)
    splits          the splits of the first positions, one file behind the other; they replace those in the rows

A column has one type, that which holds what all files have.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from shardpack.codecs.label_types import merge_members
from shardpack.errors import OptionError, ShardpackError
from shardpack.format.manifest import Manifest, TableFile
from shardpack.read.open_dataset import load_manifest
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store
from shardpack.table.libraries import pyarrow_module
from shardpack.table.parquet import SPLIT_COLUMNS, TablePart, all_columns
from shardpack.table.rows import Rows
from shardpack.table.schema import MORE, OWN, Types, arrow_type, cast


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    part: TablePart
    positions: Integers  # ascending


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of a table, by what they are.

    Attributes:
        base: With rows of all stored positions, in order.
        patches: With rows that replace others.
        splits: With the splits of the first positions, in order; none if those in the rows are right.
    """

    base: tuple[TableFile, ...]
    patches: tuple[TableFile, ...] = ()
    splits: tuple[TableFile, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> TableFiles:
        """Return the files that a manifest names."""
        files = tuple(file for file in manifest.table if not file.has_splits_only)
        ends = enumerate(accumulate(file.num_samples for file in files), start=1)
        num_base = next((number for number, end in ends if end == manifest.num_samples), len(files))
        return cls(files[:num_base], files[num_base:], manifest.table[len(files) :])

    @property
    def all(self) -> tuple[TableFile, ...]:
        """All files, as a manifest names them."""
        return (*self.base, *self.patches, *self.splits)


class Piece(NamedTuple):
    """Rows of a table that follow one another.

    Attributes:
        first: Stored position of the first one.
        num_rows: How many there are.
        columns: The columns that were asked for; `position` is the stored position.
    """

    first: int
    num_rows: int
    columns: dict[str, Any]


class LabelTable:
    """The table of a dataset, open for reading. Not safe in threads; cheap to open.

    Attributes:
        types: Of the label columns of all files together.
        columns: Names of all columns, in order.
        num_rows: Number of stored samples.
    """

    def __init__(
        self, base: Sequence[TablePart], patches: Sequence[TablePart], splits: Sequence[TablePart] = ()
    ) -> None:
        """Read a table whose files are open; reads the positions of patches."""
        self.num_rows, self._splits = sum(part.num_rows for part in base), splits
        self._base, self._patches = base, [_Patch(part, _positions(part, self.num_rows)) for part in patches]
        types: Types = {}
        for part in (*base, *patches):
            types = merge_members(types, part.types)
        self.types = types
        self.columns = all_columns((*base, *patches), types)

    @classmethod
    def open(cls, store: Store, manifest: Manifest) -> LabelTable:
        """Open the files of a dataset's table; costs one or two requests for each.

        Raises:
            OptionError: This generation of the dataset has no table, or no samples.
            ShardNotFoundError, CorruptIndexError, UnsupportedVersionError: A file cannot be read.
        """
        if not manifest.num_samples:
            raise OptionError(f"the dataset in {store.location!r} has no samples, so no label table; append some")
        if not manifest.table:
            raise OptionError(_without_table(store, manifest))
        return cls.of_files(TableFiles.of(manifest), partial(TablePart, store))

    @classmethod
    def of_files(cls, files: TableFiles, opened: Callable[[TableFile], TablePart]) -> LabelTable:
        """Return the table that is in some files, each opened by a function. Raises as `open`."""
        return cls(*([opened(file) for file in some] for some in (files.base, files.patches, files.splits)))

    def check_columns(self, columns: Sequence[str]) -> None:
        """Refuse names that are not columns.

        Raises:
            OptionError: Names the columns that there are.
        """
        for name in columns:
            if name not in self.columns:
                raise OptionError(f"no column {name!r}; the table has: {', '.join(self.columns)}")

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Yield all rows, a file at a time. Costs the ranges of these columns."""
        first = 0
        splits = _Splits(self._splits if "split" in columns else ())
        for part in self._base:
            table = self._latest(part, columns, first)
            found = dict(zip(table.column_names, table.columns, strict=True))
            if first < splits.num_rows:
                found["split"] = splits.replace(found["split"], first)
            yield Piece(first, part.num_rows, found)
            first += part.num_rows

    def _latest(self, part: TablePart, columns: Sequence[str], first: int) -> Any:
        """Return columns of a base file whose first row has this stored position, with the rows of patches."""
        rows, tables, total = np.arange(part.num_rows), [self._columns(part, columns)], part.num_rows
        for patch in self._patches if columns else ():
            begin, end = np.searchsorted(patch.positions, (first, first + part.num_rows)).tolist()
            if begin < end:
                rows[patch.positions[begin:end] - first] = total + np.arange(end - begin)
                tables.append(self._columns(patch.part, columns).slice(begin, end - begin))
                total += end - begin
        if len(tables) == 1:
            return tables[0]
        pa = pyarrow_module()
        return pa.concat_tables([_without_dictionaries(one) for one in tables]).take(pa.array(rows))

    def _columns(self, part: TablePart, columns: Sequence[str]) -> Any:
        return _columns(part, columns, self.types)


def _without_table(store: Store, manifest: Manifest) -> str:
    """Return what to say of a generation that has no table. Costs a read of the newest manifest."""
    with suppress(ShardpackError):
        _, newest = load_manifest(store)
        if newest.table and newest.generation > manifest.generation:
            return (
                f"generation {manifest.generation} of the dataset in {store.location!r} has no label table; generation "
                f"{newest.generation}, the newest, has one: open that, without generation (--generation)"
            )
    return f'the dataset in {store.location!r} has no label table; make one with "shardpack table {store.location}"'


def _columns(part: TablePart, columns: Sequence[str], types: Types) -> Any:
    """Return columns of one file, of the types that they have in the whole table."""
    pa = pyarrow_module()
    table = part.read([name for name in columns if name in part.columns])
    arrays = {}
    for name in columns:
        if name not in part.columns:
            arrays[name] = pa.nulls(part.num_rows, pa.string() if name == MORE else arrow_type(types[name]))
        elif name in OWN or name == MORE:
            arrays[name] = table[name]
        else:
            arrays[name] = cast(table[name], part.types[name], types[name])
    return pa.table(arrays)


class _Splits:
    """The files of splits, of which the last one read is kept."""

    def __init__(self, parts: Sequence[TablePart]) -> None:
        self._parts = parts
        self._starts = [0, *accumulate(part.num_rows for part in parts)]
        self._last: tuple[int, Any] = (-1, None)
        self.num_rows = self._starts[-1]

    def replace(self, column: Any, first: int) -> Any:
        """Return the column `split` of rows from a stored position on, with what these files say."""
        end = min(first + len(column), self.num_rows)
        chunks, at = [], first
        while at < end:
            number = bisect_right(self._starts, at) - 1
            start, stop = self._starts[number], min(end, self._starts[number + 1])
            chunks += self._read(number).slice(at - start, stop - at).chunks
            at = stop
        return pyarrow_module().chunked_array([*chunks, *column.slice(end - first).chunks], type=column.type)

    def _read(self, number: int) -> Any:
        if self._last[0] != number:
            part, start = self._parts[number], self._starts[number]
            table = part.read(SPLIT_COLUMNS)
            if not np.array_equal(table["position"].to_numpy(), np.arange(start, start + part.num_rows)):
                raise part.damaged("its positions are not those that follow one another")
            self._last = number, table["split"]
        return self._last[1]


def _positions(part: TablePart, num_rows: int) -> Integers:
    """Return the stored positions of the rows of a patch."""
    positions: Integers = part.read(["position"])["position"].to_numpy()
    ascending = bool((positions[1:] > positions[:-1]).all())
    if len(positions) and not (ascending and positions[0] >= 0 and positions[-1] < num_rows):
        raise part.damaged("its positions do not ascend, or are not in the dataset")
    return positions


def latest_rows(patches: Sequence[TablePart]) -> Rows:
    """Return the rows of several patches together; of a position that several have, that of the last."""
    pa = pyarrow_module()
    types: Types = {}
    for part in patches:
        types = merge_members(types, part.types)
    columns = all_columns(patches, types)
    rows = pa.concat_tables([_without_dictionaries(_columns(part, columns, types)) for part in patches])
    positions = rows["position"].to_numpy()[::-1]
    _, last = np.unique(positions, return_index=True)
    return Rows(rows.take(pa.array(len(positions) - 1 - last)), types)


def _without_dictionaries(table: Any) -> Any:
    """Return a table with `class` as texts: rows of several files have several dictionaries."""
    pa = pyarrow_module()
    types = [pa.string() if name == "class" else table.schema.field(name).type for name in table.column_names]
    return table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))

"""Tables of Arrow record batches as a source of rows: what Parquet, Arrow files, Hugging Face folders and Lance share.

    a format's module --groups, read--> open_tables --> TableSource: read(group) -> batches -> columns -> rows

A group is what the format reads alone: a row group, a record batch, a fragment. Each is a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from shardpack.errors import OptionError, SourceError
from shardpack.format.split_names import in_split_order
from shardpack.sources.formats.arrow_columns import ArrowColumn, batch_rows, columns_of, pyarrow_module
from shardpack.sources.formats.choose_mapping import LABEL_COLUMNS, choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import can_be_keys, classes_in
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.file_payloads import files_named, name_beside, paths_in, with_files
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import KNOWN
from shardpack.sources.row_source import BadRow, Row, Unit

_BATCH_BYTES, _BATCH_ROWS = 8 << 20, 1024  # decoded at once
_DRAWN_ROWS = 4
_SCANNED_ROWS = 4096  # keys and labels that are read at once


@dataclass(frozen=True, slots=True)
class Group:
    """What is read alone. Pickles.

    Attributes:
        file: Name of its file, or of its dataset.
        number: Of the row group, record batch or fragment in it.
        unit: What the source says of it.
        constants: (column, value) that all its rows have, from the names of folders.
    """

    file: str
    number: int
    unit: Unit
    constants: tuple[tuple[str, Any], ...] = ()


# read(found, group, columns, first row, rows at once) yields record batches from the first row on. Columns are None for
# all, or names, of which "image.path" means the paths of a column of files alone where the format can read them so.
Read = Callable[[FoundFiles, Group, "Sequence[str] | None", int, int], Iterator[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource(MappedRows):
    """Rows of tables; see `RowSource`. Pickles, as `read` is a function of a module."""

    found: FoundFiles
    groups: tuple[Group, ...]  # one a unit
    columns: tuple[ArrowColumn, ...]
    read: Read

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """See `RowSource.rows`."""
        group = self.groups[unit]
        end = group.unit.num_rows if stop is None else stop
        assert end is not None
        at, label = first, self.maker.mapping.label_column
        if at >= end:
            return
        with reading(group.unit.name):
            for batch in self.read(self.found, group, None, first, rows_at_once(group.unit)):
                for columns in _read_rows(batch.slice(0, end - at), self.columns, label):
                    name = f"{group.unit.name}, row {at}"
                    yield self.maker.row(unit, at, name, partial(self._whole, group, columns))
                    at += 1
                if at >= end:
                    return
        raise SourceError(f"{group.unit.name} has {at:,} rows, expected {group.unit.num_rows:,}; write it again")

    def _whole(self, group: Group, columns: Callable[[], Columns]) -> Columns:
        return {**dict(group.constants), **with_files(self.found, group.file, columns(), self.columns)}


def _read_rows(batch: Any, columns: Sequence[ArrowColumn], label: str | None) -> Iterator[Callable[[], Columns]]:
    """Yield, for each row of a batch, a function that returns its values or raises SourceError."""
    try:
        rows = list(batch_rows(batch, columns, label_column=label))
    except Exception as error:  # noqa: BLE001 - one value that Python cannot hold; the rows are tried one by one
        if batch.num_rows == 1:
            yield partial(_raise, error)
            return
        for row in range(batch.num_rows):
            yield from _read_rows(batch.slice(row, 1), columns, label)
        return
    for values in rows:
        yield partial(dict, values)


def _raise(error: Exception) -> Columns:
    raise SourceError(f"a value cannot be read: {one_line(error)}; repair it, or drop its column") from error


def rows_at_once(unit: Unit) -> int:
    """Return how many rows of a unit are decoded at once."""
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES * max(1, unit.num_rows or 1) // max(1, unit.num_bytes)))


def one_line(error: Exception) -> str:
    """Return the text of a library's error in one line."""
    return " ".join(str(error).split()).rstrip(".!") or type(error).__name__


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Turn what pyarrow raises for damaged files into a SourceError that names what was read."""
    pa = pyarrow_module()
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError, MemoryError, OverflowError) as error:
        if isinstance(error, (SourceError, OptionError)):
            raise
        raise SourceError(f"cannot read {name}: {one_line(error)}; write it again, or copy it again") from error


# -- Opening --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What a format has found.

    Attributes:
        name, title: Of the format, as in `FORMATS` and in sentences.
        found: The files.
        groups: What is read alone, in the order of the source.
        schema: Of all groups.
        read: Reads a group.
        used: Names of all files that were read.
    """

    name: str
    title: str
    found: FoundFiles
    groups: Sequence[Group]
    schema: Any
    read: Read
    used: Sequence[str]


def open_tables(tables: Tables, options: FormatOptions) -> TableSource:
    """Return the rows of tables; reads a few rows, and all keys.

    Raises:
        SourceError: All groups are empty, a file is damaged, or a type has no counterpart.
        OptionError: A column that was named is missing.
    """
    found, read = tables.found, tables.read
    groups = [group for group in tables.groups if group.unit.num_rows]
    if not groups:
        raise SourceError(f"no rows in {found.location!r}; pack a table that has some")
    with reading(found.location):  # names of columns may be no texts
        columns = columns_of(tables.schema)
    label = _label_column(columns, options)
    drawn = _draw(found, groups, columns, read, label)
    named = replace(options, label_column=options.label_column or label)
    classes = next((column.class_names for column in columns if column.name == label), None)
    of_drawn = choose_mapping(drawn.rows, named, classes=classes, unwrap=False, splits=drawn.splits)
    with_path = frozenset(column.name for column in columns if column.holds_files)
    scan = _Scan(found, groups, read, tables.schema, with_path, label)
    mapping = _by_all_rows(of_drawn, scan, options)
    units = tuple(group.unit for group in groups)
    if not any(unit.split for unit in units):
        _check_no_splits(scan, mapping)
    by_path = [column for column in columns if column.name in drawn.by_path]
    version = found.version_of(
        chain(tables.used, scan.named_files(by_path)), more=f"{tables.name} {options.text()} {mapping}"
    )
    return TableSource(
        format=tables.name,
        found=found,
        units=units,
        groups=tuple(groups),
        columns=columns,
        maker=RowMaker.of(mapping, units, drawn.rows),
        read=read,
        version=version,
        sentence=f"{_counted(tables.title, groups)}; a sample is {describe_mapping(mapping, drawn.rows)}"
        + found.others(tables.used),
    )


def _by_all_rows(mapping: RowMapping, scan: _Scan, options: FormatOptions) -> RowMapping:
    """Return the mapping with what only all rows tell: whether keys differ, and the texts that are classes."""
    key, label = mapping.key_column, mapping.label_column
    if key is not None and options.key_column is None and not scan.are_keys(key):
        mapping = replace(mapping, key_column=None)
    if mapping.classes is None and label is not None and scan.is_text(label):
        mapping = replace(mapping, classes=scan.classes(label))
    return mapping


def _counted(title: str, groups: Sequence[Group]) -> str:
    """Return "Parquet: 120 rows in 2 files (train, val)"."""
    units = [group.unit for group in groups]
    files = len({group.file for group in groups})
    splits = in_split_order({unit.split for unit in units if unit.split is not None})
    said = f"{title}: {counted_rows(units, 'row')} in {files:,} file{'s' * (files != 1)}"
    return f"{said} ({', '.join(splits)})" if splits else said


def same_schema(schema: Any, other: Any, name: str, first: str) -> Any:
    """Return the schema of the first file, which another must have too.

    Raises:
        SourceError: It differs; names the first column that does.
    """
    if schema is None or schema.equals(other):
        return schema if schema is not None else other
    for column in (*schema, *other):
        mine, theirs = (
            table.field(column.name).type if column.name in table.names else None for table in (schema, other)
        )
        if mine != theirs:
            raise SourceError(
                f"column {column.name!r} is {theirs or 'missing'} in {name}, expected {mine or 'none'} as in {first}; "
                "pack the files apart, or write them alike"
            )
    raise SourceError(f"{name} has the columns of {first} in another order, or twice; write them alike")


def _label_column(columns: Sequence[ArrowColumn], options: FormatOptions) -> str | None:
    """Return the column with class names that is the label: the one that was named, has a usual name, or is alone."""
    if options.label_column is not None:
        return options.label_column
    named = [column.name for column in columns if column.class_names is not None]
    usual = next((name for name in LABEL_COLUMNS if name in named), None)
    return usual or (named[0] if len(named) == 1 else None)


def _check_no_splits(scan: _Scan, mapping: RowMapping) -> None:
    """Raise SourceError if a column that has no role is called split, and its texts are names of splits."""
    constants = (name for group in scan.groups for name, _ in group.constants)
    for column in dict.fromkeys(chain(scan.schema.names, constants)):
        if column in (mapping.key_column, mapping.label_column):
            continue
        if column.strip().lower() == "split" and scan.is_text(column):
            texts = scan.classes(column) or ()
            if any(text.lower() in KNOWN for text in texts):
                raise SourceError(
                    f"column {column!r} says such as {', '.join(map(repr, texts[:3]))}, and rows of a table make "
                    "splits by their files only: write a file for each, such as train.parquet; or rename the column, "
                    f"which keeps it in the labels, or say that it is the label (--label-column {column})"
                )


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A few rows.

    Attributes:
        rows: The rows.
        splits: The split of each.
        by_path: Columns whose values only name files.
    """

    rows: list[Columns] = field(default_factory=list)
    splits: list[str | None] = field(default_factory=list)
    by_path: set[str] = field(default_factory=set)


def _draw(
    found: FoundFiles, groups: Sequence[Group], columns: Sequence[ArrowColumn], read: Read, label: str | None
) -> _Drawn:
    """Return a few rows of some groups that are evenly drawn."""
    drawn = _Drawn()
    for number in drawn_units(len(groups)):
        group = groups[number]
        with reading(group.unit.name):
            for batch in read(found, group, None, 0, min(_DRAWN_ROWS, rows_at_once(group.unit))):
                for values in _read_rows(batch.slice(0, _DRAWN_ROWS), columns, label):
                    with suppress(SourceError):  # a bad row, when it is packed
                        row = values()
                        drawn.by_path.update(files_named(row, columns))
                        whole = {**dict(group.constants), **with_files(found, group.file, row, columns)}
                        drawn.rows.append(whole)
                        drawn.splits.append(group.unit.split)
                break
    return drawn


@dataclass(frozen=True, slots=True)
class _Scan:
    """Reads some columns of all rows."""

    found: FoundFiles
    groups: Sequence[Group]
    read: Read
    schema: Any
    files: frozenset[str]  # columns of structs of bytes and path
    label: str | None

    def named_files(self, columns: Sequence[ArrowColumn]) -> Iterator[str]:
        """Yield the names of the files that rows only name in these columns."""
        names = [column.name for column in columns]
        for group in self.groups if columns else ():
            with reading(group.unit.name):
                for batch in self.read(self.found, group, names, 0, rows_at_once(group.unit)):
                    for row in batch_rows(batch, columns, label_column=self.label):
                        paths = (path for value in row.values() for path in paths_in(value))
                        yield from filter(None, (name_beside(group.file, path) for path in paths))

    def _values(self, group: Group, column: str) -> Iterator[list[Any]]:
        constants = dict(group.constants)
        if column in constants:
            yield [constants[column]] * (group.unit.num_rows or 0)
            return
        with reading(group.unit.name):
            is_file = column in self.files
            for batch in self.read(self.found, group, [f"{column}.path" if is_file else column], 0, _SCANNED_ROWS):
                values = batch.column(column)
                yield (values.field("path") if is_file else values).to_pylist()

    def are_keys(self, column: str) -> bool:
        """Return whether the values of a column can be keys."""
        return can_be_keys(
            (group.unit.split, values) for group in self.groups for values in self._values(group, column)
        )

    def is_text(self, column: str) -> bool:
        """Return whether a column holds texts."""
        if column not in self.schema.names:
            return True  # from the name of a folder
        types, type_ = pyarrow_module().types, self.schema.field(column).type
        if types.is_dictionary(type_):
            type_ = type_.value_type
        return bool(types.is_string(type_) or types.is_large_string(type_))

    def classes(self, column: str) -> tuple[str, ...] | None:
        """Return the texts in a column as class names; None if they are too many."""
        return classes_in(values for group in self.groups for values in self._values(group, column))

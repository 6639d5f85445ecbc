"""HDF5 files through h5py: tables, groups or datasets as samples, as `hdf5_layout.py` finds them.

Units are tables, or runs of groups or datasets. HDF5 may end the process at a damaged file: see `guarded.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.format.split_names import in_split_order
from shardpack.sources.formats.choose_mapping import KEY_COLUMNS, LABEL_COLUMNS, choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import can_be_keys, classes_in
from shardpack.sources.formats.drawn_rows import counted_rows
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.guarded import open_guarded
from shardpack.sources.formats.hdf5_file import h5py_module, stored_as
from shardpack.sources.formats.hdf5_files import PATH, HDF5Files, PartOfFile, layout_of, opened
from shardpack.sources.formats.hdf5_layout import Layout
from shardpack.sources.formats.importer import ROW_NUMBER, FormatOptions
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, RowSource, Unit

NAME = "hdf5"
_PATTERNS = ("*.h5", "*.hdf5", "*.he5", "*.hdf")
_MAGIC = b"\x89HDF\r\n\x1a\n"
_KEYS = (*KEY_COLUMNS, "keys", "filenames", "file_names", "names", "image_names", "paths", "ids", "image_ids")
_LABELS = (*LABEL_COLUMNS, "labels", "targets", "class_labels")
_SHOWN = 4


def detect(found: FoundFiles) -> bool:
    """Return whether these are HDF5 files: by their names and first bytes."""
    names = found.names if found.is_file else found.matching(*_PATTERNS)
    return bool(names) and found.head(names[0], len(_MAGIC)) == _MAGIC


def open(found: FoundFiles, options: FormatOptions) -> RowSource:  # noqa: A001 - the name of the protocol
    """Return the rows; walks over all datasets, and reads a few rows, all keys and all labels that are texts.

    Raises:
        SourceError: A file is damaged, leads to other files, or holds what has no counterpart.
        OptionError: The files are not on this machine, or a column that was named is missing.
        MissingDependencyError: h5py is not installed.
    """
    options.refuse(NAME, "unpickle")
    h5py_module()
    return open_guarded(open_here, found, options)


def open_here(found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the rows, read in this process. Raises as `open`."""
    names = list(found.names) if found.is_file else found.matching(*_PATTERNS)
    if not names:
        raise SourceError(f"no HDF5 file is in {found.location!r}; expected names such as *.h5")
    parts: list[PartOfFile] = []
    left: list[str] = []
    classes: tuple[str, ...] | None = None
    for name, split in zip(names, splits_of(names), strict=True):
        with opened(found, name) as file:
            layout = layout_of(file)
            parts += _parts(name, split, file, layout)
            named = _class_names(file, layout)
        if classes is not None and named is not None and named != classes:
            raise SourceError(f"{name} has other class names than the files before; pack them apart")
        classes = classes or named
        left += layout.left
    files, units = HDF5Files(found, tuple(parts)), tuple(part.unit for part in parts)
    drawn = files.draw()
    mapping = _mapping(files, drawn, classes, options)
    return HDF5Rows(
        format=NAME,
        files=files,
        units=units,
        maker=RowMaker.of(mapping, units, drawn),
        version=found.version_of(names, more=f"{NAME} {options.text()} {mapping}"),
        sentence=_sentence(units, len(names), describe_mapping(mapping, drawn), left) + found.others(names),
    )


def _mapping(
    files: HDF5Files, drawn: list[Columns], classes: tuple[str, ...] | None, options: FormatOptions
) -> RowMapping:
    """Return the roles of columns, chosen by a few rows, all keys, and all labels that are texts."""
    columns = {column for row in drawn for column in row}
    key, label = options.key_column, options.label_column
    if key is None:
        key = next((name for name in _KEYS if name in columns), None)
        if key is None or (key != PATH and not can_be_keys(files.values(key))):
            key = ROW_NUMBER
    if label is None and options.class_list is None:
        label = next((name for name in _LABELS if name in columns), None)
    chosen = replace(options, key_column=key, label_column=label)
    mapping = choose_mapping(drawn, chosen, classes=classes, unwrap=False)
    if mapping.classes is None and label is not None:
        mapping = replace(mapping, classes=classes_in(values for _, values in files.values(label)))
    return mapping


def _sentence(units: tuple[Unit, ...], num_files: int, mapped: str, left: list[str]) -> str:
    splits = in_split_order({unit.split for unit in units if unit.split is not None})
    rest = ", ".join(sorted(left)[:_SHOWN]) + (", ..." if len(left) > _SHOWN else "")
    return (
        f"HDF5: {counted_rows(units, 'sample')} in {num_files:,} file{'s' * (num_files != 1)}"
        + (f" ({', '.join(splits)})" if splits else "")
        + f"; a sample is {mapped}"
        + (f"; {len(left)} dataset{'s are' if len(left) > 1 else ' is'} not read: {rest}" if left else "")
    )


def _parts(name: str, split: str | None, file: Any, layout: Layout) -> list[PartOfFile]:
    """Return the units of a file; bytes whose lengths only reading tells share what the file is long."""
    known = sum(part.num_bytes for part in layout.parts)
    unknown = max(0, int(file.id.get_filesize()) - known)
    found = []
    for part in layout.parts:
        columns = [file[path] for _, path in part.columns] if part.kind == "table" else []
        varies = any(column.dtype.hasobject for column in columns)
        what = {"table": "rows", "groups": "groups", "datasets": "datasets"}[part.kind]
        split_of_part = part.split or split
        what = f"{split_of_part} {what}" if part.split and part.kind == "table" else what
        where = f"{name}, {what} of {'/' + part.prefix.rstrip('/')!r}" + (f" from {part.first!r}" if part.first else "")
        unit = Unit(where, part.num_rows, part.num_bytes + (unknown if varies else 0), split_of_part)
        found.append(PartOfFile(name, part, unit))
    return found


def _class_names(file: Any, layout: Layout) -> tuple[str, ...] | None:
    if layout.class_names is not None:
        names = file[layout.class_names].asstr()[:].tolist()
        return tuple(map(str, names))
    for part in layout.parts:
        for column, path in part.columns if part.kind == "table" else ():
            enum = stored_as(file[path], path).enum
            if enum and column in _LABELS and [number for _, number in enum] == list(range(len(enum))):
                return tuple(name for name, _ in enum)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class HDF5Rows(MappedRows):
    """The rows of HDF5 files, as `RowSource` says."""

    files: HDF5Files

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield samples; see `RowSource.rows`. A group or dataset that cannot be read is a bad row."""
        end = self.units[unit].num_rows if stop is None else stop
        assert end is not None
        for number, (name, columns) in enumerate(self.files.columns(unit, first, end), first):
            yield self.maker.row(unit, number, name, columns)

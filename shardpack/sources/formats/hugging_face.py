"""Folders that Hugging Face's `save_to_disk` has written: a dataset, or several splits.

    dataset_dict.json                    {"splits": ["train", "test"]}; not there if there are no splits
    train/state.json                     _data_files: its Arrow streams, in order; _indices_files: a selection of rows
    train/data-00000-of-00002.arrow

Units are record batches, or runs of selected rows.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, SourceError
from shardpack.runtime.words import a_type
from shardpack.sources.formats.arrow import groups_of
from shardpack.sources.formats.arrow import read as read_batch
from shardpack.sources.formats.arrow_columns import pyarrow_module
from shardpack.sources.formats.arrow_file import ArrowFile
from shardpack.sources.formats.arrow_table import Group, Tables, TableSource, open_tables, reading, same_schema
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import Unit

NAME = "hugging_face"
_SPLITS, _STATE, _INFO = "dataset_dict.json", "state.json", "dataset_info.json"
_MAX_JSON_BYTES = 64 << 20
_SELECTED_ROWS = 1024  # of a unit


def detect(found: FoundFiles) -> bool:
    """Return whether this is such a folder, by the names of its files."""
    return _SPLITS in found.names or _STATE in found.names


def open(found: FoundFiles, options: FormatOptions) -> TableSource:  # noqa: A001 - the name of the protocol
    """Return the rows; reads where the batches are, a few rows, and all keys.

    Raises:
        SourceError: A file is missing or damaged, or a type has no counterpart.
        OptionError: The files are not on this machine.
        MissingDependencyError: pyarrow is not installed.
    """
    options.refuse(NAME, "unpickle", "raw")
    pyarrow_module()
    splits = _splits(found)
    schema: Any = None
    groups: list[Group] = []
    used = [name for name in found.names if name.rpartition("/")[2] in (_SPLITS, _STATE, _INFO)]
    first = ""
    for split in splits:
        folder = split or ""
        files, selection = _files(found, folder)
        of_split, batches = groups_of(found, files, [split] * len(files))
        schema, first = same_schema(schema, of_split, files[0], first), first or files[0]
        used += [*files, *([selection] if selection else [])]
        groups += batches if selection is None else _selected(found, folder, selection, batches)
    tables = Tables(name=NAME, title="Hugging Face", found=found, groups=groups, schema=schema, read=read, used=used)
    return open_tables(tables, options)


def _splits(found: FoundFiles) -> list[str | None]:
    if _SPLITS not in found.names:
        return [None]
    names = _json(found, _SPLITS).get("splits")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or not names:
        raise SourceError(f'{_SPLITS} names no splits; expected {{"splits": ["train", ...]}}')
    return list(names)


def _files(found: FoundFiles, folder: str) -> tuple[list[str], str | None]:
    """Return the data files of a split, and the file of the rows that are selected, if there is one."""
    state = _json(found, posixpath.join(folder, _STATE))
    files = _named(found, folder, state.get("_data_files"))
    if not files:
        raise SourceError(f"{posixpath.join(folder, _STATE)} names no data files; save the dataset again")
    selections = _named(found, folder, state.get("_indices_files") or [])
    if len(selections) > 1:
        raise SourceError(f"{posixpath.join(folder, _STATE)} names {len(selections)} selections, expected one at most")
    return files, selections[0] if selections else None


def _named(found: FoundFiles, folder: str, entries: Any) -> list[str]:
    known, names = set(found.names), []
    for entry in entries if isinstance(entries, list) else []:
        name = entry.get("filename") if isinstance(entry, dict) else None
        path = posixpath.join(folder, name) if isinstance(name, str) else None
        if path not in known or path is None:
            raise SourceError(f"{posixpath.join(folder, _STATE)} names {name!r}, which is not there; copy it again")
        names.append(path)
    return names


def _json(found: FoundFiles, name: str) -> dict[str, Any]:
    if name not in found.names:
        raise SourceError(f"{name} is missing in {found.location!r}; save the dataset again")
    try:
        content = parse_json(found.read(name, max_bytes=_MAX_JSON_BYTES))
    except DecodeError as error:
        raise SourceError(f"{name} is damaged: {error.args[0]}; save the dataset again") from error
    if not isinstance(content, dict):
        raise SourceError(f"{name} holds {a_type(content)}, expected an object; save the dataset again")
    return content


# -- Selections -----------------------------------------------------------------------------------


def _selected(found: FoundFiles, folder: str, selection: str, batches: Sequence[Group]) -> list[Group]:
    """Return groups of selected rows; their file is that of the selection, their number that of its first row."""
    name = posixpath.join(folder, _STATE)
    with reading(selection):
        indices = _indices(found, selection)
        total = sum(batch.unit.num_rows or 0 for batch in batches)
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < total:
            raise SourceError(f"{selection} selects row {int(indices.max())} of {total:,}; save the dataset again")
    split, num_bytes = batches[0].unit.split, sum(batch.unit.num_bytes for batch in batches)
    groups = []
    for start in range(0, len(indices), _SELECTED_ROWS):
        count = min(_SELECTED_ROWS, len(indices) - start)
        unit = Unit(f"{name}, selected rows from {start}", count, num_bytes * count // max(1, total), split)
        groups.append(Group(selection, start, unit))
    return groups


def _indices(found: FoundFiles, selection: str) -> Any:
    with ArrowFile(found.local(selection)) as file:
        parts = [part.column(0) for batch in file.batches() for part in file.read(batch.number, 0, 1 << 20)]
    return pyarrow_module().chunked_array(parts, type=pyarrow_module().uint64()).to_numpy()


def read(
    found: FoundFiles, group: Group, columns: Sequence[str] | None, first: int, rows_at_once: int
) -> Iterator[Any]:
    """Yield a record batch in parts, or selected rows one by one."""
    folder, base = posixpath.split(group.file)
    files, selection = _files(found, folder)
    if selection is None or base != posixpath.basename(selection):
        yield from read_batch(found, group, columns, first, rows_at_once)
        return
    _, batches = groups_of(found, files, [group.unit.split] * len(files))
    starts = [0]
    for batch in batches:
        starts.append(starts[-1] + (batch.unit.num_rows or 0))
    yield from _rows_of(found, group, batches, starts, first)


def _rows_of(
    found: FoundFiles, group: Group, batches: Sequence[Group], starts: Sequence[int], first: int
) -> Iterator[Any]:
    import bisect

    wanted = _indices(found, group.file)[group.number + first : group.number + (group.unit.num_rows or 0)]
    for index in wanted.tolist():
        number = bisect.bisect_right(starts, index) - 1
        row = index - starts[number]
        yield next(read_batch(found, replace(batches[number], unit=group.unit), None, row, 1))

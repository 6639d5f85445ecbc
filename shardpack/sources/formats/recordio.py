"""MXNet RecordIO: `.rec` files, with the paths of their `.lst`; also those of insightface.

Units are runs of records of a file on disk, found by reading its lengths alone; of a remote file, the whole file.
Records with labels and without a payload (insightface keeps what it says of identities so) are no samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.sources.formats.byte_stream import RangeStream
from shardpack.sources.formats.choose_mapping import describe_mapping
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import ROW_NUMBER, FormatOptions
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.recordio_file import MAGIC, Record, Run, parse_record, read_records, runs_of_records
from shardpack.sources.formats.recordio_list import paths_of_list
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "recordio"
RUN_BYTES = 32 << 20
_DRAWN_RECORDS = 4


@dataclass(frozen=True, slots=True)
class _FileRun:
    """A run, its file, and the `.lst` of that, if there is one."""

    name: str
    run: Run
    names: str | None


def detect(found: FoundFiles) -> bool:
    """Return whether these are RecordIO files: by the name and the mark at the start."""
    names = found.matching("*.rec")
    return bool(names) and found.head(names[0], len(MAGIC)) == MAGIC


def open(  # noqa: A001 - the name in the protocol
    found: FoundFiles, options: FormatOptions, *, run_bytes: int = RUN_BYTES
) -> RecordIO:
    """Return the records; reads the headers of records of files on disk, and a few records.

    Raises:
        SourceError: A file is damaged, or holds something else.
        OptionError: An option does not fit.
    """
    options.refuse(NAME, "unpickle", "raw")
    names = found.names if found.is_file else tuple(found.matching("*.rec"))
    if not names:
        raise SourceError(f"no RecordIO file is in {found.location!r}; expected names such as *.rec")
    lists = _lists_of(found, names)
    ids: set[int] = set()
    count = 0

    def see(identity: int) -> None:
        nonlocal count
        count += 1
        ids.add(identity)

    runs: list[_FileRun] = []
    units: list[Unit] = []
    for name, split in zip(names, splits_of(names), strict=True):
        size = found.size(name)
        of_file = (
            [Run(0, size, 0, 0, 0)]
            if found.store.remote and size
            else runs_of_records(found.store, name, run_bytes, see)
        )
        runs += [_FileRun(name, run, lists.get(name)) for run in of_file]
        units += [
            Unit(name, None if found.store.remote else run.num_rows, run.stop - run.start, split) for run in of_file
        ]
    if options.label_column not in (None, "label"):
        raise OptionError(f"label_column is {options.label_column!r}; the columns are image, label, id")
    left_out = sum(run.run.num_records - run.run.num_rows for run in runs)
    key = _key_column(options, has_paths=bool(lists), ids_differ=len(ids) == count > 0)
    mapping = RowMapping("image", key, "label", options.classes, class_list=options.class_list)
    version = found.version_of([*names, *lists.values()], more=f"{NAME} {options.text()} {mapping}")
    source = RecordIO(
        format=NAME,
        units=tuple(units),
        maker=RowMaker(mapping, RowKeys.of(units)),
        version=version,
        sentence="",
        found=found,
        runs=tuple(runs),
    )
    drawn = [columns for unit in drawn_units(len(runs)) for columns in source.some_columns(unit)]
    sentence = (
        f"RecordIO: {counted_rows(units, 'record')} in {len(names):,} file{'s' * (len(names) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}"
        + (f"; {left_out:,} records without a payload are left out" if left_out else "")
        + found.others([*names, *lists.values(), *found.matching("*.idx", "property")])
    )
    return replace(source, maker=RowMaker.of(mapping, units, drawn), sentence=sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordIO(MappedRows):
    """The rows of RecordIO files, as `RowSource` says."""

    found: FoundFiles
    runs: tuple[_FileRun, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples of records; see `RowSource.rows`."""
        for row, (name, record) in islice(enumerate(self._records(unit)), first, stop):
            if isinstance(record, BadRow):
                yield record
            else:
                yield self.maker.row(unit, row, name, partial(self._columns, unit, record))

    def _records(self, unit: int) -> Iterator[tuple[str, Record | BadRow]]:
        """Yield (what a person finds it by, record) of each record with a payload."""
        file, run = self.runs[unit].name, self.runs[unit].run
        stream = RangeStream(self.found.store, file, run.start, run.stop)
        for number, (offset, data) in enumerate(read_records(stream, name=file, first=run.first), run.first):
            name = f"{file}, record {number} at byte {offset}"
            try:
                record = parse_record(data)
            except DecodeError as error:
                yield name, BadRow(name, str(error))
                continue
            if record.payload:
                yield name, record

    def _columns(self, unit: int, record: Record) -> Columns:
        labels = [int(label) if label.is_integer() else label for label in record.labels]
        columns: dict[str, Any] = {"image": record.payload, "label": labels}
        if self.maker.mapping.key_column == "path":
            columns["path"] = self._path(unit, record.id)
        else:
            columns["id"] = record.id
        return columns

    def _path(self, unit: int, identity: int) -> str:
        names = self.runs[unit].names
        assert names is not None
        paths = paths_of_list(self.found, names, self.version)
        if identity not in paths:
            raise SourceError(f"id {identity} is not in the list {names!r}; choose key column 'id', or {ROW_NUMBER}")
        return paths[identity]

    def some_columns(self, unit: int) -> list[Columns]:
        """Return the columns of the first records of a unit, by which the sentence says what a sample will be."""
        good = (record for _, record in self._records(unit) if isinstance(record, Record))
        some: list[Columns] = []
        for record in islice(good, _DRAWN_RECORDS):
            with suppress(SourceError):  # a bad row later on
                some.append(self._columns(unit, record))
        return some


def _lists_of(found: FoundFiles, names: tuple[str, ...]) -> dict[str, str]:
    """Return the list of each file, if all have one."""
    there = set(found.names)
    lists = {name: f"{name.removesuffix('.rec')}.lst" for name in names}
    return lists if there.issuperset(lists.values()) else {}


def _key_column(options: FormatOptions, *, has_paths: bool, ids_differ: bool) -> str | None:
    key = options.key_column
    if key is None:
        return "path" if has_paths else "id" if ids_differ else None
    if key == ROW_NUMBER:
        return None
    if key not in ("id", "path") or (key == "path" and not has_paths):
        raise OptionError(f"key_column is {key!r}; records have an id" + (" and a path" if has_paths else ""))
    return key

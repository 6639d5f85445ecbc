"""LMDB environments through the package lmdb: entries, the entries of a key, or those of a number as samples.

Units are runs of neighbouring samples. LMDB may end the process at a damaged file: see `guarded.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np

from shardpack.errors import OptionError, SourceError
from shardpack.format.split_names import in_split_order
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import can_be_keys
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.guarded import open_guarded
from shardpack.sources.formats.importer import ROW_NUMBER, FormatOptions, Unpickle
from shardpack.sources.formats.lmdb_file import MAGIC, MAGIC_AT, lmdb_module
from shardpack.sources.formats.lmdb_layout import Run
from shardpack.sources.formats.lmdb_samples import VALUE, all_samples, find_runs
from shardpack.sources.formats.lmdb_values import Kind, columns_of, kind_of_values
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.row_source import BadRow, Row, RowSource, Unit

NAME = "lmdb"
_PATTERNS = ("data.mdb", "*.lmdb", "*.mdb")
_LOCKS = ("lock.mdb", "*-lock")
_KEY = "key"  # column of the keys of entries
_KEYS_AT_ONCE = 4096
_DRAWN_ROWS = 8


def detect(found: FoundFiles) -> bool:
    """Return whether these are LMDB environments: by their names and first bytes."""
    names = _environments(found)
    return bool(names) and found.head(names[0], 32)[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC


def open(found: FoundFiles, options: FormatOptions) -> RowSource:  # noqa: A001 - the name of the protocol
    """Return the rows; walks over all keys, and reads a few values.

    Raises:
        SourceError: A file is damaged, or holds several databases that are no splits.
        OptionError: The files are not on this machine, or an option is missing or does not fit.
        MissingDependencyError: lmdb is not installed.
    """
    lmdb_module()
    return open_guarded(open_here, found, options)


def open_here(found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the rows, read in this process. Raises as `open`."""
    names = _environments(found)
    pairs = [pair for name in names for pair in find_runs(found, name)]
    if not pairs:
        raise SourceError(f"no entries in {found.location!r}; pack a database that has some")
    runs, units = tuple(run for run, _ in pairs), tuple(unit for _, unit in pairs)
    files = LmdbFiles(found, runs, units, _kind(found, runs[0], options.unpickle), options.unpickle)
    drawn = files.draw()
    if options.raw is None and any(isinstance(row.get("image"), np.ndarray) for row in drawn):
        raise OptionError("its values are raw pixels (Datum of Caffe, BGR); choose raw='png' or 'npy' (--raw png)")
    mapping = _mapping(files, drawn, options)
    splits = in_split_order({unit.split for unit in units if unit.split is not None})
    sample = describe_mapping(mapping, drawn)
    if files.kind == "fields":
        fields = sorted({name for row in drawn for name in row if name != _KEY})
        sample = f"{' + '.join(fields)}; key: that of its entries"
    sentence = (
        f"LMDB: {counted_rows(units, 'sample')} in {len(names):,} file{'s' * (len(names) != 1)}"
        + (f" ({', '.join(splits)})" if splits else "")
        + f"; a sample is {sample}{' (Datum of Caffe)' * (files.kind == 'datum')}"
        + found.others([*names, *found.matching(*_LOCKS)])
    )
    version = found.version_of(names, more=f"{NAME} {options.text()} {files.kind} {mapping}")
    return LmdbRows(
        format=NAME,
        units=units,
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        files=files,
    )


def _environments(found: FoundFiles) -> list[str]:
    locks = set(found.matching(*_LOCKS))
    return [name for name in (found.names if found.is_file else found.matching(*_PATTERNS)) if name not in locks]


def _kind(found: FoundFiles, run: Run, allowed: Unpickle | None) -> Kind:
    """Return what the values of entries are, by the first."""
    if run.shape != "entries":
        return "fields" if run.shape == "fields" else "bytes"
    with closing(all_samples(found, run)) as samples:
        first = [bytes(values[VALUE]) for _, _, values in islice(samples, _DRAWN_ROWS)]
    return kind_of_values(first, allowed)


def _mapping(files: LmdbFiles, drawn: Sequence[Columns], options: FormatOptions) -> RowMapping:
    key = options.key_column
    if key is None:
        key = _KEY if can_be_keys(files.keys()) else ROW_NUMBER
    mapping = choose_mapping(drawn, replace(options, key_column=key), unwrap=False)
    texts = any(isinstance(row.get(mapping.label_column or ""), (str, bytes)) for row in drawn)
    if options.label_column is None and texts and files.runs[0].shape == "numbered":
        return replace(mapping, label_column=None)  # a line of text is not a class
    return mapping


@dataclass(frozen=True, slots=True)
class LmdbFiles:
    """Environments and what their values are. Pickles, without open files."""

    found: FoundFiles
    runs: tuple[Run, ...]
    units: tuple[Unit, ...]  # one a run
    kind: Kind
    unpickle: Unpickle | None

    def samples(self, number: int, first: int, stop: int) -> Iterator[tuple[str, Mapping[str, bytes]]]:
        """Yield (key, values) of some samples of a run. Raises as `all_samples`."""
        with closing(all_samples(self.found, self.runs[number])) as samples:
            for _, key, values in islice(samples, first, stop):
                yield key, {name: bytes(value) for name, value in values.items()}

    def columns(self, number: int, key: str, values: Mapping[str, bytes]) -> Columns:
        """Return the columns of a sample, its key among them.

        Raises:
            SourceError: Its value is not what the first values are.
        """
        run = self.runs[number]
        name = {} if "\0" in key or not key.isprintable() else {_KEY: key}
        if run.shape != "entries":
            return {**name, **values}
        return {**name, **columns_of(values[VALUE], self.kind, self.unpickle, name=f"{run.file}, key {key!r}")}

    def draw(self) -> list[Columns]:
        """Return a few rows, of some runs."""
        drawn: list[Columns] = []
        for number in drawn_units(len(self.runs)):
            for key, values in self.samples(number, 0, _DRAWN_ROWS):
                with suppress(SourceError):  # a bad row, when it is packed
                    drawn.append(self.columns(number, key, values))
        return drawn

    def keys(self) -> Iterator[tuple[str | None, list[str]]]:
        """Yield (split, keys) of all samples, in parts."""
        for run, unit in zip(self.runs, self.units, strict=True):
            with closing(all_samples(self.found, run)) as samples:
                of_run = islice(samples, unit.num_rows)
                while part := [key for _, key, _ in islice(of_run, _KEYS_AT_ONCE)]:
                    yield unit.split, part


@dataclass(frozen=True, slots=True, kw_only=True)
class LmdbRows(MappedRows):
    """The rows of LMDB environments, as `RowSource` says."""

    files: LmdbFiles

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield samples; see `RowSource.rows`. A value that is not what the first ones are is a bad row."""
        end = self.units[unit].num_rows if stop is None else stop
        assert end is not None
        file = self.files.runs[unit].file
        for number, (key, values) in enumerate(self.files.samples(unit, first, end), first):
            name = f"{file}, key {key!r}"
            if self.files.kind == "fields":
                own = key if self.maker.mapping.key_column else self.maker.keys.number(unit, number)
                yield self.maker.checked(name, Row(self.maker.keys.key(unit, own), values))
            else:
                columns = partial(self.files.columns, unit, key, values)
                yield self.maker.row(unit, number, name, columns)

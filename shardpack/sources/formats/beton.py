"""FFCV's .beton files, version 2: JPEGs as they are, raw pixels as `--raw` says.

Units are runs of samples. Rows have no keys of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.sources.formats.beton_file import HEADER, IMAGE, VERSION, Beton, BetonReader, read_beton
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "beton"
RUN_BYTES = 32 << 20
_ROWS_AT_ONCE = 256  # of the table
_DRAWN_ROWS = 4


@dataclass(frozen=True, slots=True)
class _Run:
    file: int
    first: int
    stop: int


def detect(found: FoundFiles) -> bool:
    """Return whether these are .beton files, by the name and the version at the start."""
    names = found.matching("*.beton")
    return bool(names) and found.head(names[0], 2) == VERSION.to_bytes(2, "little")


def open(  # noqa: A001 - the name in the protocol
    found: FoundFiles, options: FormatOptions, *, run_bytes: int = RUN_BYTES
) -> BetonRows:
    """Return the rows; reads the headers, and a few rows.

    Raises:
        SourceError: A file is damaged, or of another version.
        OptionError: An option does not fit; or images are raw, and `raw` is not given.
    """
    options.refuse(NAME, "unpickle")
    names = found.names if found.is_file else tuple(found.matching("*.beton"))
    if not names:
        raise SourceError(f"no .beton file is in {found.location!r}")
    files = tuple(read_beton(found.store, name) for name in names)
    runs: list[_Run] = []
    units: list[Unit] = []
    for number, (file, split) in enumerate(zip(files, splits_of(names), strict=True)):
        data_bytes = file.size - HEADER.size
        count = max(1, -(-data_bytes // run_bytes))
        bounds = [file.num_samples * i // count for i in range(count + 1)]
        for first, stop in pairwise(bounds):
            if stop > first:
                runs.append(_Run(number, first, stop))
                units.append(Unit(file.name, stop - first, data_bytes * (stop - first) // file.num_samples, split))
    readers = [BetonReader(found.store, file) for file in files]
    drawn = [
        columns
        for unit in drawn_units(len(runs))
        for columns in _some_columns(files[runs[unit].file], readers[runs[unit].file], runs[unit])
    ]
    if options.raw is None and any(isinstance(row.get(name), np.ndarray) for row in drawn for name in _images(files)):
        raise OptionError(
            "its images are raw pixels; choose how they are stored: raw='png', without loss, or raw='npy' (--raw png)"
        )
    mapping = replace(choose_mapping(drawn, options), unwrap=False)
    sentence = (
        f"FFCV: {counted_rows(units, 'sample')} in {len(names):,} file{'s' * (len(names) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}{found.others(names)}"
    )
    version = found.version_of(names, more=f"{NAME} {options.text()} {mapping}")
    return BetonRows(
        format=NAME,
        units=tuple(units),
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        found=found,
        files=files,
        runs=tuple(runs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BetonRows(MappedRows):
    """The rows of .beton files, as `RowSource` says."""

    found: FoundFiles
    files: tuple[Beton, ...]
    runs: tuple[_Run, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples; see `RowSource.rows`."""
        run = self.runs[unit]
        beton = self.files[run.file]
        reader = BetonReader(self.found.store, beton)
        last = run.stop if stop is None else run.first + stop
        for begin in range(run.first + first, last, _ROWS_AT_ONCE):
            table = reader.rows(begin, min(begin + _ROWS_AT_ONCE, last))
            for number, row in enumerate(table, begin):
                name = f"{beton.name}, sample {number}"
                yield self.maker.row(unit, number - run.first, name, partial(_columns, beton, reader, row))


def _columns(beton: Beton, reader: BetonReader, row: Any) -> Columns:
    return {field.name: reader.value(row, number) for number, field in enumerate(beton.fields)}


def _images(files: tuple[Beton, ...]) -> set[str]:
    return {field.name for file in files for field in file.fields if field.kind == IMAGE}


def _some_columns(beton: Beton, reader: BetonReader, run: _Run) -> list[Columns]:
    some: list[Columns] = []
    for row in reader.rows(run.first, min(run.stop, run.first + _DRAWN_ROWS)):
        with suppress(DecodeError):  # a bad row later on
            some.append(_columns(beton, reader, row))
    return some

"""NumPy's `.npz` and `.npy`: arrays along whose first axis samples lie, or files that are samples.

Units are runs of the first axis, or runs of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.formats.array_file import StoredArray, list_arrays, read_array, read_rows
from shardpack.sources.formats.array_layout import along_first_axis, columns_of, is_a_sample_each
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import with_text_classes
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "npz"
RUN_BYTES = 32 << 20
_PATTERNS = ("*.npz", "*.npy")
_FILES_AT_ONCE = 256  # of a unit whose files are samples, at most
_DRAWN_FILES, _DRAWN_ROWS = 8, 4
_KEY = "__key__"
_HEADS = (b"PK\3\4", b"\x93NUMPY")


@dataclass(frozen=True, slots=True)
class _Along:
    """The rows `first <= i < stop` along the first axis of some arrays."""

    columns: tuple[tuple[str, StoredArray], ...]
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Files:
    """Files that are a sample each; or whose arrays are, as far as these are numbered here."""

    names: tuple[str, ...]
    arrays: tuple[StoredArray, ...] = ()


_Run = _Along | _Files


def detect(found: FoundFiles) -> bool:
    """Return whether these are files of NumPy, by the name and the first bytes."""
    names = found.matching(*_PATTERNS)
    return bool(names) and found.head(names[0], 8).startswith(_HEADS)


def open(  # noqa: A001 - the name in the protocol
    found: FoundFiles, options: FormatOptions, *, run_bytes: int = RUN_BYTES
) -> ArrayRows:
    """Return the rows; reads headers of arrays, a few rows, and all labels that are texts: these are the classes.

    Raises:
        SourceError: A file is damaged, or an array holds Python objects.
        OptionError: An option does not fit.
    """
    options.refuse(NAME, "unpickle")
    names = found.names if found.is_file else tuple(found.matching(*_PATTERNS))
    if not names:
        raise SourceError(f"no file of NumPy is in {found.location!r}; expected names such as *.npz")
    planned = list(_planned(found, names, run_bytes))
    if not planned:
        raise SourceError(f"the arrays in {found.location!r} are empty; name others")
    runs, units = zip(*planned, strict=True)
    drawn = [columns for unit in drawn_units(len(units)) for columns in _some_columns(found, runs[unit])]
    mapping = with_text_classes(choose_mapping(drawn, options), partial(_values_of, found, runs))
    noun = "row" if isinstance(runs[0], _Along) else "sample"
    sentence = (
        f"NumPy: {counted_rows(units, noun)} in {len(names):,} file{'s' * (len(names) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}{found.others(names)}"
    )
    version = found.version_of(names, more=f"{NAME} {options.text()} {mapping}")
    return ArrayRows(
        format=NAME,
        units=units,
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        found=found,
        runs=runs,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayRows(MappedRows):
    """The rows of files of NumPy, as `RowSource` says."""

    found: FoundFiles
    runs: tuple[_Run, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples; see `RowSource.rows`."""
        run = self.runs[unit]
        last = self.units[unit].num_rows if stop is None else stop
        assert last is not None
        if isinstance(run, _Along):
            file = self.units[unit].name
            for row, columns in enumerate(_along(self.found, run, first, last), first):
                yield self.maker.row(unit, row, f"{file}, row {run.first + row}", partial(_given, columns))
            return
        for row in range(first, last):
            name = f"{run.names[0]}, array {run.arrays[row].name}" if run.arrays else run.names[row]
            yield self.maker.row(unit, row, name, partial(_together, self.found, run, row))


def _planned(found: FoundFiles, names: Sequence[str], run_bytes: int) -> Iterator[tuple[_Run, Unit]]:
    """Yield the runs, and the unit of each. All files hold rows, or all are samples: the first one tells."""
    first = list_arrays(found.store, names[0])
    shapes = {array.name: array.shape for array in first}
    if along_first_axis(shapes, is_only_file=len(names) == 1):
        return _runs_of_rows(found, names, first, run_bytes)
    if len(names) == 1 and is_a_sample_each(shapes):
        return _runs_of_arrays(names[0], first)
    if len(names) == 1 and any(len(shape) == 4 and shape[0] > 1 for shape in shapes.values()):
        raise SourceError(
            f"its arrays do not share a first axis, expected as many labels as images; got {shapes}; "
            "save arrays of one length, or each sample to a file of its own",
            path=names[0],
        )
    return _runs_of_files(found, names, run_bytes)


def _runs_of_rows(
    found: FoundFiles, names: Sequence[str], first: Sequence[StoredArray], run_bytes: int
) -> Iterator[tuple[_Run, Unit]]:
    """Yield runs of the first axis of the arrays of each file; those of the first file are known."""
    for name, split in zip(names, splits_of(names), strict=True):
        arrays = {array.name: array for array in (first if name == names[0] else list_arrays(found.store, name))}
        shapes = {key: array.shape for key, array in arrays.items()}
        groups = along_first_axis(shapes, is_only_file=len(names) == 1)
        if not groups:
            raise SourceError(f"its arrays do not share a first axis, as those of {names[0]!r} do", path=name)
        for group in groups:
            columns = tuple((column, arrays[array]) for column, array in group.columns)
            num_bytes = sum(array.num_bytes for _, array in columns)
            step = max(1, group.num_rows * run_bytes // max(1, num_bytes))
            for begin in range(0, group.num_rows, step):
                stop = min(begin + step, group.num_rows)
                share = num_bytes * (stop - begin) // group.num_rows
                yield _Along(columns, begin, stop), Unit(name, stop - begin, share, group.split or split)


def _runs_of_arrays(name: str, arrays: Sequence[StoredArray]) -> Iterator[tuple[_Run, Unit]]:
    """Yield runs of the arrays of the only file, each of which is a sample."""
    (split,) = splits_of([name])
    for begin in range(0, len(arrays), _FILES_AT_ONCE):
        some = tuple(arrays[begin : begin + _FILES_AT_ONCE])
        yield _Files((name,), some), Unit(name, len(some), sum(array.num_bytes for array in some), split)


def _runs_of_files(found: FoundFiles, names: Sequence[str], run_bytes: int) -> Iterator[tuple[_Run, Unit]]:
    """Yield runs of files that are a sample each."""
    splits = splits_of(names)
    some: list[str] = []
    num_bytes = 0
    for number, name in enumerate(names):
        some.append(name)
        num_bytes += found.size(name)
        is_last = number + 1 == len(names) or splits[number + 1] != splits[number]
        if is_last or num_bytes >= run_bytes or len(some) == _FILES_AT_ONCE:
            yield _Files(tuple(some)), Unit(some[0], len(some), num_bytes, splits[number])
            some, num_bytes = [], 0


def _along(found: FoundFiles, run: _Along, first: int, stop: int) -> Iterator[Columns]:
    readers = [
        (column, read_rows(found.store, array, run.first + first, run.first + stop)) for column, array in run.columns
    ]
    for _ in range(first, stop):
        yield {column: next(values) for column, values in readers}


def _together(found: FoundFiles, run: _Files, row: int) -> Columns:
    if run.arrays:
        array = run.arrays[row]
        return {_KEY: array.name, "image": read_array(found.store, array)}
    name = run.names[row]
    columns: dict[str, Any] = {_KEY: name.rpartition(".")[0]}
    arrays = {array.name: array for array in list_arrays(found.store, name)}
    for column, of in columns_of(list(arrays)).items():
        columns[of if column in columns else column] = read_array(found.store, arrays[of])
    return columns


def _values_of(found: FoundFiles, runs: Sequence[_Run], column: str) -> Iterator[Any]:
    """Yield the values of a column in all samples; of files that are a sample, damaged ones are passed over."""
    for run in runs:
        if isinstance(run, _Files):
            for row in range(len(run.arrays or run.names)):
                with suppress(ShardpackError):
                    yield _together(found, run, row).get(column)
        elif run.first == 0 and (array := dict(run.columns).get(column)) is not None:  # once for all runs of an array
            yield from read_rows(found.store, array, 0, array.shape[0])


def _given(columns: Columns) -> Columns:
    return columns


def _some_columns(found: FoundFiles, run: _Run) -> list[Columns]:
    if isinstance(run, _Along):
        return list(_along(found, run, 0, min(_DRAWN_ROWS, run.stop - run.first)))
    return [_together(found, run, row) for row in range(min(2, len(run.arrays or run.names)))]

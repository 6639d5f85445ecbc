"""Open HDF5 files: their parts, and the values of samples in them. Errors of h5py become ours, with the file's name."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.formats.drawn_rows import drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.hdf5_file import Stored, h5py_module, stored_as, walk
from shardpack.sources.formats.hdf5_layout import Layout, Part, find_layout
from shardpack.sources.formats.hdf5_values import attributes_of, batch_ends, read_rows, read_whole
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_values import extension_of
from shardpack.sources.row_source import Unit

PATH, VALUE = "__key__", "data"  # columns of samples that are datasets or groups
_DRAWN_ROWS = 4
_IMAGE_HEAD = 16


_Batch = list[list[Any]]  # values of some rows, column by column


@dataclass(frozen=True, slots=True)
class PartOfFile:
    """A part, the name of its file, and what a source says of it."""

    file: str
    part: Part
    unit: Unit


@dataclass(frozen=True, slots=True)
class HDF5Files:
    """Files and their parts. Pickles, without open files."""

    found: FoundFiles
    parts: tuple[PartOfFile, ...]

    def columns(self, number: int, first: int, stop: int) -> Iterator[tuple[str, Callable[[], Columns]]]:
        """Yield (name, function that returns the columns) of some rows of a part.

        Raises:
            SourceError: The file is damaged.
        """
        of_file = self.parts[number]
        part = of_file.part
        with opened(self.found, of_file.file) as file:
            if part.kind != "table":
                for name in _names(file, part)[first:stop]:
                    path = part.prefix + name
                    yield f"{of_file.file}, {path!r}", partial(_whole, file, part, path)
                return
            names, row = [name for name, _ in part.columns], first
            for batch in _table_batches(file, part.columns, first, stop):
                for values in zip(*batch, strict=True):
                    yield f"{of_file.unit.name}, row {row}", partial(dict, zip(names, values, strict=True))
                    row += 1

    def draw(self) -> list[Columns]:
        """Return a few rows, of some parts."""
        drawn: list[Columns] = []
        for number in drawn_units(len(self.parts)):
            for _, columns in self.columns(number, 0, min(_DRAWN_ROWS, self.parts[number].part.num_rows)):
                with suppress(SourceError):  # a bad row, when it is packed
                    drawn.append(columns())
        return drawn

    def values(self, column: str) -> Iterator[tuple[str | None, list[Any]]]:
        """Yield (split, values) of a column of all tables, in parts; texts as such."""
        for of_file in self.parts:
            path = dict(of_file.part.columns).get(column)
            if of_file.part.kind == "table" and path is not None:
                with opened(self.found, of_file.file) as file:
                    for (values,) in _table_batches(file, ((column, path),), 0, of_file.part.num_rows):
                        yield of_file.unit.split, [_text(value) for value in values]


@contextmanager
def opened(found: FoundFiles, name: str) -> Iterator[Any]:
    """Yield an open file; what h5py raises becomes a SourceError that names it."""
    h5py = h5py_module()
    path = found.local(name)
    if found.head(name, 6) == b"MATLAB":
        raise SourceError(
            f"{name} is a MATLAB 7.3 file, whose arrays are transposed and whose cells are references; "
            "save what should be packed as images, or as HDF5 with h5write"
        )
    try:
        with h5py.File(path, "r") as file:
            yield file
    except ShardpackError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError, UnicodeError) as error:
        said = " ".join(str(error).split()).rstrip(".!") or type(error).__name__
        raise SourceError(f"cannot read {name}: {said}; copy it again, or write it again") from error


def layout_of(file: Any) -> Layout:
    """Return what the datasets of an open file are. Raises as `walk` and `find_layout`."""

    def is_image(stored: Stored) -> bool:
        head = file[stored.path][:_IMAGE_HEAD]
        return bool(head.dtype.itemsize == 1 and extension_of(head.tobytes()))

    return find_layout(list(walk(file)), is_image)


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _table_batches(file: Any, columns: Sequence[tuple[str, str]], first: int, stop: int) -> Iterator[_Batch]:
    """Yield the values of some rows in batches: those of each column."""
    datasets = [file[path] for _, path in columns]
    stored = [stored_as(dataset, path) for dataset, (_, path) in zip(datasets, columns, strict=True)]
    for begin, end in batch_ends(stored, first, stop):
        yield [read_rows(dataset, of, begin, end) for dataset, of in zip(datasets, stored, strict=True)]


def _names(file: Any, part: Part) -> list[str]:
    """Return the names of the samples of a unit, below its prefix: groups, or datasets of one group."""
    h5py = h5py_module()
    folder, base = posixpath.split(part.first)
    group = file[part.prefix + folder] if part.prefix + folder else file
    names: list[str] = []
    for name in sorted(group):
        is_there = name >= base and isinstance(group.get(name, getlink=True), h5py.HardLink)
        if is_there and _is_sample(group[name], part):
            names.append(posixpath.join(folder, name))
            if len(names) == part.num_rows:
                return names
    raise SourceError(
        f"{part.prefix + folder or 'the file'} has {len(names):,} samples from {base!r} on, "
        f"expected {part.num_rows:,}; run the same command again"
    )


def _is_sample(found: Any, part: Part) -> bool:
    """Return whether `walk` has seen it: a dataset that is not empty, or a group with some."""
    h5py = h5py_module()
    if part.kind == "groups":
        return isinstance(found, h5py.Group) and any(True for _ in walk(found))
    return isinstance(found, h5py.Dataset) and found.shape is not None


def _whole(file: Any, part: Part, path: str) -> Mapping[str, Any]:
    """Return the columns of a sample that is a dataset or a group."""
    try:
        found = file[path]
        columns = {PATH: path[len(part.prefix) :], **attributes_of(found)}
        if part.kind == "datasets":
            return {**columns, VALUE: read_whole(found, path)}
        return {**columns, **{name: read_whole(found[below], f"{path}/{below}") for name, below in part.columns}}
    except ShardpackError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".!") or type(error).__name__
        raise SourceError(f"{path!r} cannot be read: {said}; write it again, or drop it") from error

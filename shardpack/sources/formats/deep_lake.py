"""Deep Lake datasets through the package `deeplake`, version 4, which also reads those of version 3.

One dataset, or a folder of them. Units are runs of rows, of the version that is current when the source is opened.
Images come as the bytes that are stored, where they are stored compressed; Deep Lake has no checksums of them.
The package may end the process at a damaged file: see `guarded.py`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardpack.errors import MissingDependencyError, OptionError, SourceError
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.guarded import open_guarded
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, RowSource, Unit

NAME = "deep_lake"
_LOG, _META_3 = "_deeplake_log/", "dataset_meta.json"  # of version 4, of version 3
_UNIT_BYTES = 16 << 20
_ROWS_AT_ONCE = 32
_DRAWN_ROWS = 4
_ENCODED = frozenset(
    {"jpeg", "jpg", "png", "tiff", "tif", "gif", "bmp", "webp", "jpeg2000", "dcm", "nii", "mp4", "mp3"}
)
_COORDINATES = frozenset({"BoundingBox", "Point", "Polygon"})  # numbers in json, not arrays


def detect(found: FoundFiles) -> bool:
    """Return whether these are Deep Lake datasets, by the names of their files."""
    return not found.is_file and bool(_datasets(found))


def open(found: FoundFiles, options: FormatOptions) -> RowSource:  # noqa: A001 - the name of the protocol
    """Return the rows; reads a few of them.

    Raises:
        SourceError: A file is damaged, or payloads are elsewhere.
        OptionError: The files are not on this machine, or an option is missing or does not fit.
        MissingDependencyError: deeplake is not installed.
    """
    options.refuse(NAME, "unpickle")
    _deeplake()
    return open_guarded(open_here, found, options)


def open_here(found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the rows, read in this process. Raises as `open`."""
    tops = _datasets(found)
    titles = [top or posixpath.basename(found.location.rstrip("/")) for top in tops]
    runs: list[_Run] = []
    units: list[Unit] = []
    names: dict[str, tuple[str, ...]] = {}
    for top, title, split in zip(tops, titles, splits_of(titles), strict=True):
        dataset = _Dataset.open(found, top, title)
        names |= dataset.class_names()
        mean_bytes = max(1, _num_bytes(found, top) // max(1, dataset.num_rows))
        step = max(1, _UNIT_BYTES // mean_bytes)
        for first in range(0, dataset.num_rows, step):
            count = min(step, dataset.num_rows - first)
            runs.append(_Run(top, title, first, dataset.num_rows, dataset.version))
            units.append(Unit(f"{title}, rows from {first:,} on", count, count * mean_bytes, split))
    if not runs:
        raise SourceError(f"no rows in {found.location!r}; pack a dataset that has some")
    drawn = [row for unit in drawn_units(len(runs)) for row in _first_rows(found, runs[unit], units[unit])]
    if options.raw is None and any(_is_raw_image(row) for row in drawn):
        raise OptionError("its images are raw pixels; choose raw='png' or 'npy' (--raw png)")
    mapping = _mapping(drawn, options, names)
    used = [name for name in found.names if any(not top or name.startswith(f"{top}/") for top in tops)]
    sentence = (
        f"Deep Lake: {counted_rows(units, 'row')} in {len(tops):,} dataset{'s' * (len(tops) != 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}{found.others(used)}"
    )
    return DeepLakeRows(
        format=NAME,
        units=tuple(units),
        maker=RowMaker.of(mapping, units, drawn),
        version=found.version_of(used, more=f"{NAME} {options.text()} {mapping}"),
        sentence=sentence,
        found=found,
        runs=tuple(runs),
    )


def _mapping(
    drawn: Sequence[Columns], options: FormatOptions, class_names: Mapping[str, tuple[str, ...]]
) -> RowMapping:
    """Return the roles of columns; the only column that has class names is the label, whatever it is called."""
    mapping = choose_mapping(drawn, options, unwrap=False)
    if mapping.label_column is None and len(class_names) == 1:
        options = replace(options, label_column=next(iter(class_names)))
        mapping = choose_mapping(drawn, options, unwrap=False)
    names = class_names.get(mapping.label_column or "")
    if names is None or options.classes is not None:
        return mapping
    return choose_mapping(drawn, options, classes=names, unwrap=False)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run of rows: those of a unit.

    Attributes:
        top, title: Folder of the dataset, and what a person calls it.
        first: Number of its first row.
        num_rows, version: Of the dataset when the source was opened.
    """

    top: str
    title: str
    first: int
    num_rows: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepLakeRows(MappedRows):
    """The rows of Deep Lake datasets, as `RowSource` says."""

    found: FoundFiles
    runs: tuple[_Run, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield samples; see `RowSource.rows`.

        Raises:
            SourceError: The dataset has changed since it was opened, or is damaged.
        """
        run, end = self.runs[unit], self.units[unit].num_rows if stop is None else stop
        assert end is not None
        for number, columns in enumerate(_read(self.found, run, first, end), first):
            name = f"{run.title}, row {run.first + number}"
            yield self.maker.row(unit, number, name, lambda columns=columns: columns)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Dataset:
    """One dataset, open."""

    title: str
    view: Any

    @classmethod
    def open(cls, found: FoundFiles, top: str, title: str) -> _Dataset:
        path = found.local(top)
        try:
            if any(name.startswith(_join(top, _LOG)) for name in found.names):
                return cls(title, _deeplake().open_read_only(path))
            if '"' in path:
                raise OptionError(f"{path!r} has a quotation mark, which deeplake cannot open; rename the folder")
            # How version 4 opens a dataset of version 3:
            return cls(title, _deeplake().query(f'select * from "{path}"'))  # noqa: S608 - no quotation mark is in it
        except (RuntimeError, ValueError, IndexError) as error:
            raise _unreadable(title, error) from error

    @property
    def num_rows(self) -> int:
        return len(self.view)

    @property
    def version(self) -> str:
        return str(getattr(self.view, "version", ""))

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Return the class names of the columns that have some."""
        found = {}
        for name in self._columns():
            metadata = self.view[name].metadata
            names = metadata["class_names"] if "class_names" in metadata.keys() else None  # noqa: SIM118 - no dict
            if names:
                found[name] = tuple(map(str, names))
        return found

    def _columns(self) -> dict[str, Any]:
        return {column.name: column.dtype for column in self.view.schema.columns}

    def rows(self, first: int, stop: int) -> list[dict[str, Any]]:
        """Return the columns of some rows."""
        columns: dict[str, Sequence[Any]] = {}
        for name, kind in self._columns().items():
            if getattr(kind, "is_link", False):
                raise SourceError(
                    f"column {name!r} of {self.title} holds links, and its payloads are elsewhere; "
                    "copy the dataset with its payloads"
                )
            try:
                columns[name] = _values(self.view[name], kind, first, stop)
            except (RuntimeError, ValueError, IndexError) as error:
                raise _unreadable(f"column {name!r} of {self.title}", error) from error
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: Any, kind: Any, first: int, stop: int) -> Sequence[Any]:
    """Return the values of some rows of a column as a mapping takes them."""
    rows, is_kind = slice(first, stop), str(getattr(kind, "kind", "")).rpartition(".")[2]
    if str(getattr(kind, "sample_compression", None)).lower() in _ENCODED:
        return [bytes(payload) for payload in column.get_bytes(rows)]
    values = column[rows]
    if is_kind == "Dict":
        return [None if value is None else _plain(value.to_dict()) for value in values]
    if is_kind in _COORDINATES:
        return [None if value is None else _plain(value) for value in values]
    if is_kind == "ClassLabel" and getattr(values, "shape", ())[1:] == (1,) == tuple(kind.shape):
        return [int(value[0]) for value in values]  # how version 3 stores one label a row
    return list(values)


def _plain(value: Any) -> Any:
    """Return a value with lists instead of arrays, at any depth."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _read(found: FoundFiles, run: _Run, first: int, stop: int) -> Iterator[Columns]:
    """Yield the columns of some rows of a run."""
    dataset = _Dataset.open(found, run.top, run.title)
    if (dataset.num_rows, dataset.version) != (run.num_rows, run.version):
        raise SourceError(f"{run.title} has changed since packing began; run the same command again")
    for at in range(first, stop, _ROWS_AT_ONCE):
        yield from dataset.rows(run.first + at, run.first + min(stop, at + _ROWS_AT_ONCE))


def _first_rows(found: FoundFiles, run: _Run, unit: Unit) -> list[Columns]:
    return list(_read(found, run, 0, min(_DRAWN_ROWS, unit.num_rows or 0)))


def _is_raw_image(row: Columns) -> bool:
    return any(getattr(row.get(name), "ndim", 0) in (2, 3) for name in ("image", "images", "img"))


def _datasets(found: FoundFiles) -> list[str]:
    """Return the folders of datasets, "" for the root."""
    names = (name for name in found.names if name.endswith(_META_3) or _LOG in name)
    tops = (name.partition(_LOG)[0] if _LOG in name else name.removesuffix(_META_3) for name in names)
    return list(dict.fromkeys(top.rstrip("/") for top in tops))


def _join(top: str, name: str) -> str:
    return f"{top}/{name}" if top else name


def _num_bytes(found: FoundFiles, top: str) -> int:
    names = (name for name in found.names if name.startswith(_join(top, "")) and _LOG not in name)
    return sum(map(found.size, names))


def _unreadable(what: str, error: Exception) -> SourceError:
    return SourceError(f"{what} cannot be read: {' '.join(str(error).split())}; copy it again, or repair it")


def _deeplake() -> Any:
    try:
        import deeplake
    except ImportError as error:
        raise MissingDependencyError(
            'datasets of Deep Lake need deeplake 4; run pip install "shardpack[deeplake]"'
        ) from error
    return deeplake

"""Lance datasets through the package `lance`: `train.lance`, or a folder of them.

Units are fragments, of the version that is current when the source is opened. Lance may end the process at a damaged
file: see `guarded.py`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import MissingDependencyError, SourceError
from shardpack.sources.formats.arrow_columns import pyarrow_module
from shardpack.sources.formats.arrow_table import Group, Tables, open_tables, reading, same_schema
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.guarded import open_guarded
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import RowSource, Unit

NAME = "lance"
_VERSIONS = "_versions/"


def detect(found: FoundFiles) -> bool:
    """Return whether these are Lance datasets, by the names of their files."""
    return bool(_datasets(found)) and bool(found.matching("*.lance"))


def open(found: FoundFiles, options: FormatOptions) -> RowSource:  # noqa: A001 - the name of the protocol
    """Return the rows; reads a few rows, and all keys.

    Raises:
        SourceError: A file is damaged, or a type has no counterpart.
        OptionError: The files are not on this machine, or an option does not fit.
        MissingDependencyError: lance is not installed.
    """
    options.refuse(NAME, "unpickle", "raw")
    _lance()
    return open_guarded(open_here, found, options)


def open_here(found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the rows, read in this process. Raises as `open`."""
    names = _datasets(found)
    schema: Any = None
    groups: list[Group] = []
    versions: dict[str, int] = {}
    titles = [name or posixpath.basename(found.location.rstrip("/")) for name in names]
    for name, title, split in zip(names, titles, splits_of(titles), strict=True):
        with reading(title):
            dataset = _dataset(found, name)
            _refuse_blobs(dataset.schema)
            versions[name] = dataset.version
            schema = same_schema(schema, dataset.schema, title, titles[0])
            groups += [_group(fragment, title, name, split) for fragment in dataset.get_fragments()]
    tables = Tables(
        name=NAME,
        title="Lance",
        found=found,
        groups=groups,
        schema=schema,
        read=_Read(versions),
        used=[
            name for name in found.names if any(name.startswith(posixpath.join(top, "")) or not top for top in names)
        ],
    )
    return open_tables(tables, options)


def _lance() -> Any:
    pyarrow_module()
    try:
        import lance
    except ImportError as error:
        raise MissingDependencyError('datasets of Lance need pylance; run pip install "shardpack[lance]"') from error
    return lance


def _datasets(found: FoundFiles) -> list[str]:
    """Return the folders of datasets, "" for the root."""
    tops = (name.partition(_VERSIONS)[0].rstrip("/") for name in found.matching("*.manifest") if _VERSIONS in name)
    return list(dict.fromkeys(tops))


def _dataset(found: FoundFiles, name: str, version: int | None = None) -> Any:
    return _lance().dataset(found.local(name), version=version)


def _group(fragment: Any, title: str, name: str, split: str | None) -> Group:
    num_bytes = sum(file.file_size_bytes or 0 for file in fragment.data_files())
    unit = Unit(f"{title}, fragment {fragment.fragment_id}", fragment.count_rows(), num_bytes, split)
    return Group(name, fragment.fragment_id, unit)


def _refuse_blobs(schema: Any) -> None:
    for field in schema:
        if any(b"blob" in key for key in field.metadata or {}) or "blob" in str(field.type):
            raise SourceError(f"column {field.name!r} is stored as blobs, which are not read; write it as plain binary")


@dataclass(frozen=True, slots=True)
class _Read:
    """Reads fragments of the versions that datasets had when the source was opened."""

    versions: dict[str, int]

    def __call__(
        self, found: FoundFiles, group: Group, columns: Sequence[str] | None, first: int, rows_at_once: int
    ) -> Iterator[Any]:
        """Yield the record batches of a fragment, from a row on."""
        fragment = _dataset(found, group.file, self.versions[group.file]).get_fragment(group.number)
        names = None if columns is None else [name.removesuffix(".path") for name in columns]
        yield from fragment.to_batches(columns=names, batch_size=rows_at_once, offset=first)

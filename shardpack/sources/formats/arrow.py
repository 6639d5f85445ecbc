"""Arrow IPC files and streams, alone or in folders; Hugging Face's caches hold such streams.

Units are record batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shardpack.sources.formats.arrow_columns import pyarrow_module
from shardpack.sources.formats.arrow_file import FILE_MAGIC, STREAM_MAGIC, ArrowFile
from shardpack.sources.formats.arrow_table import Group, Tables, TableSource, open_tables, reading, same_schema
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.table_splits import splits_of_tables
from shardpack.sources.row_source import Unit

NAME = "arrow"
_PATTERNS = ("*.arrow", "*.feather", "*.ipc", "*.arrows")
_OTHERS = ("state.json", "*.lance")  # folders of Hugging Face and of Lance, which hold such files too


def detect(found: FoundFiles) -> bool:
    """Return whether these are Arrow files: by their names and first bytes."""
    names = found.matching(*_PATTERNS)
    return bool(names) and not found.matching(*_OTHERS) and found.head(names[0]).startswith((FILE_MAGIC, STREAM_MAGIC))


def open(found: FoundFiles, options: FormatOptions) -> TableSource:  # noqa: A001 - the name of the protocol
    """Return the rows; reads where the batches are, a few rows, and all keys.

    Raises:
        SourceError: A file is damaged, has other columns than the first, or its types have no counterpart.
        OptionError: The files are not on this machine.
        MissingDependencyError: pyarrow is not installed.
    """
    options.refuse(NAME, "unpickle", "raw")
    pyarrow_module()
    names = list(found.names) if found.is_file else found.matching(*_PATTERNS)
    schema, groups = groups_of(found, names, splits_of_tables(found, names))
    tables = Tables(name=NAME, title="Arrow", found=found, groups=groups, schema=schema, read=read, used=names)
    return open_tables(tables, options)


def groups_of(found: FoundFiles, names: Sequence[str], splits: Sequence[str | None]) -> tuple[Any, list[Group]]:
    """Return the schema of some files and their record batches.

    Raises:
        SourceError: A file is damaged, or has other columns than the first.
    """
    schema: Any = None
    groups: list[Group] = []
    for name, split in zip(names, splits, strict=True):
        with reading(name), ArrowFile(found.local(name)) as file:
            schema = same_schema(schema, file.schema, name, names[0])
            groups += [
                Group(name, batch.number, Unit(f"{name}, batch {count}", batch.num_rows, batch.num_bytes, split))
                for count, batch in enumerate(file.batches())
            ]
    return schema, groups


def read(
    found: FoundFiles,
    group: Group,
    columns: Sequence[str] | None,  # noqa: ARG001 - a mapped batch is not read before a column is looked at
    first: int,
    rows_at_once: int,
) -> Iterator[Any]:
    """Yield a record batch in parts, from a row on."""
    with ArrowFile(found.local(group.file)) as file:
        yield from file.read(group.number, first, rows_at_once)

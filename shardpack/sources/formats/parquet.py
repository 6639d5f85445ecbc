"""Parquet files, alone or in folders, such as those of the Hugging Face Hub.

Units are row groups. A row group is decoded in batches of a few megabytes, page by page, and once: what lies before the
first row that is asked for is decoded and dropped, as pages cannot be entered otherwise, so that units are whole.
Memory is taken for a page, up to three times: stored, decompressed, and the one before, which the last batch refers to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from shardpack.errors import SourceError
from shardpack.sources.formats.arrow_columns import pyarrow_module
from shardpack.sources.formats.arrow_table import Group, Tables, TableSource, open_tables, reading, same_schema
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.stored_file import StoredFile
from shardpack.sources.formats.table_splits import splits_of_tables
from shardpack.sources.row_source import Unit

NAME = "parquet"
_MAGIC = b"PAR1"
_PATTERNS = ("*.parquet", "*.pq")
_BUFFER_BYTES = 1 << 20
_COLUMN_FOLDER = re.compile(r"([^=/]+)=([^/]*)")
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def detect(found: FoundFiles) -> bool:
    """Return whether these are Parquet files: by their names and first bytes."""
    names = found.names if found.is_file else found.matching(*_PATTERNS)
    return bool(names) and not found.matching("*.tar", "*.lance") and found.head(names[0], 4) == _MAGIC


def open(found: FoundFiles, options: FormatOptions) -> TableSource:  # noqa: A001 - the name of the protocol
    """Return the rows; reads the footers, a few rows, and all keys.

    Raises:
        SourceError: A file is damaged, has other columns than the first, or its types have no counterpart.
        MissingDependencyError: pyarrow is not installed.
    """
    options.refuse(NAME, "unpickle", "raw")
    pyarrow_module()
    names = list(found.names) if found.is_file else found.matching(*_PATTERNS)
    _refuse_logs(found)
    schema: Any = None
    groups: list[Group] = []
    for name, split in zip(names, splits_of_tables(found, names), strict=True):
        with reading(name), _opened(found, name) as file:
            schema = same_schema(schema, file.schema_arrow, name, names[0])
            groups += _groups(file.metadata, name, split)
    tables = Tables(name=NAME, title="Parquet", found=found, groups=groups, schema=schema, read=read, used=names)
    return open_tables(tables, options)


def read(
    found: FoundFiles, group: Group, columns: Sequence[str] | None, first: int, rows_at_once: int
) -> Iterator[Any]:
    """Yield the record batches of a row group, from a row on."""
    with _opened(found, group.file) as file:
        skipped = 0
        for batch in file.iter_batches(
            batch_size=rows_at_once, row_groups=[group.number], columns=columns, use_threads=False
        ):
            if skipped + batch.num_rows > first:
                yield batch.slice(max(0, first - skipped))
            skipped += batch.num_rows


def _opened(found: FoundFiles, name: str) -> Any:
    from pyarrow import parquet

    source = StoredFile(found.store, name) if found.store.folder is None else found.local(name)
    # Without pre-buffering, which would hold a whole row group, a page is read when it is decoded.
    return parquet.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)


def _groups(metadata: Any, name: str, split: str | None) -> list[Group]:
    groups: list[Group] = []
    for number in range(metadata.num_row_groups):
        row_group = metadata.row_group(number)
        num_bytes = max(0, row_group.total_byte_size)
        unit = Unit(f"{name}, row group {number}", row_group.num_rows, num_bytes, split, is_whole=True)
        groups.append(Group(name, number, unit, _constants(name)))
    return groups


def _constants(name: str) -> tuple[tuple[str, str | None], ...]:
    """Return the columns that folders such as "label=cat" name, as Hive and Spark write them."""
    found = [_COLUMN_FOLDER.fullmatch(part) for part in name.split("/")[:-1]]
    return tuple((unquote(part[1]), None if part[2] == _HIVE_NULL else unquote(part[2])) for part in found if part)


def _refuse_logs(found: FoundFiles) -> None:
    for name in found.names:
        if name.startswith("_delta_log/") or name.endswith(".metadata.json"):
            raise SourceError(
                f"{name} says which of the files in {found.location!r} count, in a way that is unknown here; "
                "write the current rows to Parquet files of their own"
            )

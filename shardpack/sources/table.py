"""Metadata tables beside images, as Hugging Face's ImageFolder has them.

    metadata.csv             file_name,label,caption
    cat/0001.jpg             cat/0001.jpg,3,a cat          -> json {"label":3,"caption":"a cat"}

A table may lie in any folder of the source; `file_name` is relative to the table's folder.
Decides which image a row belongs to; `table_formats.py` decides what a cell means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, time
from decimal import Decimal
from itertools import pairwise
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.image_files import group_files
from shardpack.sources.image_paths import ImagePaths
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.listing import Listing
from shardpack.sources.rejects import Problems
from shardpack.sources.scan import Files
from shardpack.sources.table_formats import FILE_NAME, Record, csv_records, jsonl_records, parquet_records

TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def find_tables(files: Files) -> list[str]:
    """Return the paths of the metadata tables among `files`, in their order."""
    return [name for name in files.names if name.endswith(TABLE_NAMES) and name.rpartition("/")[2] in TABLE_NAMES]


def list_table(files: Files, problems: Problems, *, rename_keys: bool = False) -> Listing:
    """Return the images that have a row, each with the row's other columns as its JSON label.

    The other files of an image stay fields. Columns keep their order; `csv_records` says
    how cells become values. Left out and counted: images without a row. Rejected: rows without a
    image, two rows for one sample, a file name that leads out of the source, a malformed
    row, and a .json file beside an image that has a row.

    Args:
        files: What `scan` found.
        problems: Takes what is rejected or left out.
        rename_keys: As in `group_files`.

    Raises:
        SourceError: There is no table, a folder has two, or one cannot be read at all.
        MissingDependencyError: A Parquet table, and pyarrow is not installed.
    """
    tables = find_tables(files)
    if not tables:
        raise SourceError(f"no table in {files.root!r}: expected a {', '.join(TABLE_NAMES[:-1])} or {TABLE_NAMES[-1]}")
    _check_one_a_folder(tables)
    listing = group_files(files.without(set(tables)), problems, rename_keys=rename_keys)
    image_paths = ImagePaths(listing, files, problems)
    labels: list[bytes | None] = [None] * listing.num_samples
    first_row: dict[int, str] = {}
    twice: dict[int, str] = {}
    for table, number, values in _records(files.root, tables, problems):
        where = f"{table}:{number}"
        row = _file_and_label(where, values, problems)
        if row is None:
            continue
        file_name, label = row
        found = image_paths.find(file_name, [table[: table.rfind("/") + 1] + file_name])
        if isinstance(found, str):
            problems.reject(where, found)
        elif found is not None:
            other = first_row.setdefault(found, where)
            if other != where:
                twice.setdefault(found, f"is described by {other} and by {where}; keep one of the rows")
            labels[found] = label
    return attach_labels(listing, labels, problems, refused=twice, missing="an image without a row")


def _check_one_a_folder(tables: Sequence[str]) -> None:
    # They are neighbours: `scan` lists a folder's files together.
    for one, other in pairwise(tables):
        if one.rpartition("/")[0] == other.rpartition("/")[0]:
            raise SourceError(f"two tables in one folder: {one} and {other}; keep one")


def _records(root: str, tables: Sequence[str], problems: Problems) -> Iterator[Record]:
    # CSV tables together, so that a column has one type in all of them.
    yield from csv_records(root, [table for table in tables if table.endswith(".csv")], problems)
    for table in tables:
        if table.endswith(".jsonl"):
            yield from jsonl_records(root, table, problems)
        elif table.endswith(".parquet"):
            yield from parquet_records(root, table)


def _file_and_label(where: str, values: dict[str, Any], problems: Problems) -> tuple[str, bytes] | None:
    file_name = values.pop(FILE_NAME, None)
    if not isinstance(file_name, str) or not file_name:
        problems.reject(where, f"has no {FILE_NAME}; write the image's path, or remove the row")
        return None
    try:
        return file_name, compact_json(values, default=_plain)
    except SourceError as error:
        problems.reject(where, str(error))
        return None


def _plain(value: object) -> str:
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__}")

"""Metadata tables beside images, as in Hugging Face's ImageFolder.

    metadata.csv             file_name,label,caption
    cat/0001.jpg             cat/0001.jpg,3,a cat          -> json {"label":3,"caption":"a cat"}

Any folder of the source may have a table; `file_name` is relative to the folder of the table.
This module decides which image a row describes; `sources/table_formats.py` decides what a cell means.
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
from shardpack.sources.layouts.layout import BY_TABLE, Found, LayoutOptions
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.table_formats import FILE_NAME, Record, csv_records, jsonl_records, parquet_records
from shardpack.sources.tree import Tree

TABLE_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class Table:
    """Tables with a usual name, in any folder."""

    name = "table"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables with a usual name; see `Layout.find`."""
        tables = find_tables(tree)
        if not tables and options.asked:
            raise SourceError(
                f"no table in {tree.files.root!r}: expected a {', '.join(TABLE_NAMES[:-1])} or {TABLE_NAMES[-1]}"
            )
        uses = frozenset(tables)
        return Found(layout=self.name, rank=BY_TABLE, title=tables[0], label="columns", uses=uses) if tables else None

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:  # noqa: ARG002
        """Return the images that have a row; see `list_table`."""
        return list_table(tree, problems, rename_keys=options.rename_keys)


def find_tables(tree: Tree) -> list[str]:
    """Return the names of the metadata tables of a tree, in the order of the files."""
    return [
        path
        for folder in tree.folders
        for name in TABLE_NAMES
        if (path := f"{folder}/{name}" if folder else name) in tree.names
    ]


def list_table(tree: Tree, problems: Problems, *, rename_keys: bool = False) -> Listing:
    """Return the images that have a row, each with the row's other columns as its JSON label.

    The other files of an image remain fields. Columns keep their order; `csv_records` says
    how cells become values. Left out and counted: images without a row. Rejected: rows without an
    image, rows that share a sample, file names outside the source, malformed rows, and images that
    have both a row and a .json file.

    Raises:
        SourceError: A folder has two tables, or a table cannot be read at all.
        MissingDependencyError: There is a Parquet table, and pyarrow is not installed.
    """
    tables = find_tables(tree)
    _check_one_per_folder(tables)
    listing = group_files(tree.files.without(set(tables)), problems, rename_keys=rename_keys)
    image_paths = ImagePaths(listing, tree.files, problems)
    labels: list[bytes | None] = [None] * listing.num_samples
    first_row: dict[int, str] = {}
    twice: dict[int, str] = {}
    for table, number, values in _records(tree, tables, problems):
        where = f"{table}:{number}"
        row = _file_and_label(where, values, problems)
        if row is None:
            continue
        file_name, label = row
        sample = image_paths.find(file_name, [table[: table.rfind("/") + 1] + file_name])
        if isinstance(sample, str):
            problems.reject(where, sample)
        elif sample is not None:
            other = first_row.setdefault(sample, where)
            if other != where:
                twice.setdefault(sample, f"is described by {other} and by {where}; keep one of the rows")
            labels[sample] = label
    return attach_labels(listing, labels, problems, refused=twice, missing="an image without a row")


def _check_one_per_folder(tables: Sequence[str]) -> None:
    # Two tables of one folder are consecutive, as `find_tables` goes by folders.
    for one, other in pairwise(tables):
        if one.rpartition("/")[0] == other.rpartition("/")[0]:
            raise SourceError(f"two tables in one folder: {one} and {other}; keep one")


def _records(tree: Tree, tables: Sequence[str], problems: Problems) -> Iterator[Record]:
    # All CSV tables together, so that a column has the same type in all of them.
    yield from csv_records(tree, [table for table in tables if table.endswith(".csv")], problems)
    for table in tables:
        if table.endswith(".jsonl"):
            yield from jsonl_records(tree, table, problems)
        elif table.endswith(".parquet"):
            yield from parquet_records(tree, table)


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

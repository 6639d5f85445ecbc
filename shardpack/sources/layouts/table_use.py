"""How a table is used: which of its columns name images and splits, and which become label and class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from shardpack.errors import OptionError, SourceError
from shardpack.sources.csv_dialect import FILE_NAME
from shardpack.sources.layouts.any_tables import EXAMINED_ROWS, examine, split_of_name
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.table_columns import SPLIT, class_columns, label_column, named_label, split_column
from shardpack.sources.layouts.table_questions import which_column
from shardpack.sources.layouts.table_rows import TableUse
from shardpack.sources.table_formats import distinct_values, head, head_problem
from shardpack.sources.table_text import TableText, table_text
from shardpack.sources.tree import Tree


def given_table(tree: Tree, options: LayoutOptions) -> TableUse:
    """Return the table that the user named."""
    assert options.table is not None
    inside, data = tree.read_given(options.table)
    name = os.fspath(options.table) if inside is None else inside
    table, images = table_text(name, data), NamedImages(tree.files.names)
    if inside is None:  # its own folder says nothing about paths in the tree
        table = replace(table, name=os.path.basename(name))
    return replace(use_as_named(table, images, options), inside=inside is not None)


def use_as_named(table: TableText, images: NamedImages, options: LayoutOptions) -> TableUse:
    """Return how a table is used, with the columns that the user named."""
    columns, rows = head(table, EXAMINED_ROWS)
    if not columns:
        raise SourceError(f"{table.name} {head_problem(table)}; name another (--table)")
    if options.key_column is None:
        found = examine(table, images)
        if found.column is None:
            raise SourceError(which_column(table, found, columns))
        return use_table(replace(table, key=found.column), options)
    number = _column_number(columns, options.key_column, table, "key_column")
    if columns[number] != str(options.key_column) and images.find(columns[number], folder=table.folder) is not None:
        table = replace(table, columns=())  # the first line is a row
        columns = [str(column) for column in range(len(columns))]
    use = use_table(replace(table, key=columns[number]), options)
    if rows and not _examine_column(table, rows, number, images):
        raise SourceError(
            f"no value of the column {columns[number]!r} of {table.name} names an image, such as "
            f"{rows[0][number]!r}; name another column (--key-column)"
        )
    return use


def _examine_column(table: TableText, rows: Sequence[Sequence[Any]], number: int, images: NamedImages) -> bool:
    return any(images.find(row[number], folder=table.folder) is not None for row in rows if number < len(row))


def _column_number(columns: Sequence[str], column: str | int, table: TableText, option: str) -> int:
    """Return the number of a column that is given by its name or number."""
    text = str(column)
    if text in columns:
        return columns.index(text)
    if text.isdecimal() and int(text) < len(columns):
        return int(text)
    raise OptionError(
        f"{option} is {column!r}, which is not a column of {table.name}; choose one of {', '.join(map(repr, columns))}"
    )


def use_table(table: TableText, options: LayoutOptions, *, several: bool = False, part: int | None = None) -> TableUse:
    """Return how a table is used whose key is known.

    Args:
        table: The table.
        options: What the user said; the label column may be that of another table, if tables are joined.
        several: Whether there are others, so that its name may say a split.
        part: If tables are joined, its number among them.
    """
    columns, rows = head(table, EXAMINED_ROWS)
    split_values = distinct_values(table, SPLIT)
    given = None if options.label_column is None else str(options.label_column)
    by_row = split_column(split_values, (table.key, given))
    label, class_name = _label_and_class(table, columns, rows, options, is_joined=part is not None, split=by_row)
    if by_row == label:
        by_row = None
    others = tuple(column for column in columns if column not in (table.key, label, class_name, by_row))
    if label is not None and (more := sorted({"label", "class"}.intersection(others))):
        raise SourceError(
            f"{table.name} has a column {more[0]!r} beside {label!r}, which would become label and class; rename it, "
            "or leave out --label-column, which keeps both as they are"
        )
    return TableUse(
        table,
        label=label,
        class_name=class_name,
        split=split_of_name(table.name) if several else None,
        split_column=by_row,
        split_values=() if by_row is None else tuple(split_values[by_row]),
        part=part or 0,
        others=others,
        exact=table.key == FILE_NAME,
    )


def _label_and_class(
    table: TableText,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    options: LayoutOptions,
    *,
    is_joined: bool,
    split: str | None,
) -> tuple[str | None, str | None]:
    """Return the columns that become label and class; None for what no column becomes."""
    given = options.label_column
    if given is not None:
        if is_joined:  # it may be one of another table
            return (str(given) if str(given) in columns else None), None
        return columns[_column_number(columns, given, table, "label_column")], None
    if table.key != FILE_NAME and (both := class_columns(columns, rows, table.key)) is not None:
        return both
    if is_joined:
        return named_label(columns, table.key), None
    return (None if table.key == FILE_NAME else label_column(columns, rows, table.key, split=split)), None


def use_joined(tables: Sequence[TableText], options: LayoutOptions) -> list[TableUse]:
    """Return how tables are used that are joined by image.

    Raises:
        OptionError: None of them has the label column of the user.
    """
    uses = [use_table(table, options, part=part) for part, table in enumerate(tables)]
    if options.label_column is not None and not any(use.label for use in uses):
        _column_number(
            [column for use in uses for column in use.others], options.label_column, tables[0], "label_column"
        )
    return uses

"""Tables beside images, such as the metadata.csv of Hugging Face's ImageFolder, or any other.

    metadata.csv             file_name,label,caption
    cat/0001.jpg             cat/0001.jpg,3,a cat          -> json {"label":3,"caption":"a cat"}

    labels.csv               id,breed
    train/0001.jpg           0001,beagle                   -> json {"label":0,"class":"beagle"}

A table with a usual name and a column `file_name` is taken as it is. Of any other table, the column that names images
is found by its values. This module decides which tables are used; `table_rows.py` makes labels of their rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shardpack.errors import OptionError, SourceError
from shardpack.format.split_names import split_names_problem
from shardpack.sources.csv_dialect import FILE_NAME
from shardpack.sources.label_text import TEXTS, texts_among
from shardpack.sources.layouts.any_tables import (
    EXAMINED_ROWS,
    TABLE_NAMES,
    examine,
    other_tables,
    spaced_tables,
    split_of_name,
)
from shardpack.sources.layouts.layout import BY_TABLE, Found, LayoutOptions
from shardpack.sources.layouts.named_images import NamedImages
from shardpack.sources.layouts.table_columns import (
    NEARLY_ALL,
    SPLIT,
    KeyColumns,
    caption_column,
    class_columns,
    label_column,
    may_hold_captions,
    named_label,
    split_column,
)
from shardpack.sources.layouts.table_rows import TableUse, list_rows
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.table_formats import (
    TableText,
    distinct_values,
    head,
    head_problem,
    is_number,
    num_rows,
    table_text,
)
from shardpack.sources.tree import Tree


class Table:
    """Tables whose rows describe images, in any folder."""

    name = "table"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables that were named, those with a usual name, or else those that name images."""
        if options.table is not None:
            return self._found([_given(tree, options)])
        usual = [table_text(name, tree.read(name)) for name in find_tables(tree)]
        usual = [table for table in usual if FILE_NAME in (head(table, 1)[0] or [FILE_NAME])]  # or damaged
        if usual:
            found = self._found([_use(table, options) for table in usual])
            return replace(found, question=two_in_one_folder([table.name for table in usual]) or found.question)
        others = [table_text(name, tree.read(name)) for name in other_tables(tree)] + spaced_tables(tree)
        images = NamedImages(tree.files.names if others else ())
        examined = [(table, examine(table, images)) for table in others if not _has_captions(table, images)]
        clear = [replace(table, key=found.column) for table, found in examined if found.column is not None]
        doubtful = [(table, found) for table, found in examined if found.column is None and found.shares]
        if options.key_column is not None and len(examined) == 1:
            return self._found([_named_columns(examined[0][0], images, options)], images=images)
        joined = _joined(clear, options) if _to_join(clear) else []
        question = _question(clear, doubtful, join_problem(joined)) or (
            "" if options.asked else _about_few(clear, tree)
        )
        if question:
            return Found(layout=self.name, rank=BY_TABLE, title="tables", question=question)
        if clear:
            uses = joined or [_use(table, options, several=len(clear) > 1) for table in clear]
            return self._found(uses, images=images)
        if options.asked:
            raise SourceError(
                f"no table in {tree.files.root!r}: expected a {', '.join(TABLE_NAMES[:-1])} or {TABLE_NAMES[-1]} "
                f"with a column {FILE_NAME!r}, or a table that names images; name it (--table)"
            )
        return None

    def _found(self, tables: Sequence[TableUse], *, images: NamedImages | None = None) -> Found:
        is_joined = any(use.part for use in tables)
        title = (" + " if is_joined else ", ").join(use.table.name for use in tables[:3])
        more = f" + {len(tables) - 3} more" if is_joined else ", ..."
        return Found(
            layout=self.name,
            rank=BY_TABLE,
            title=title + more * (len(tables) > 3) + ", joined by image" * is_joined,
            label=_said(tables),
            question=next(filter(None, map(_about_split, tables)), ""),
            uses=frozenset(use.table.name for use in tables if use.inside),
            memory=(list(tables), images),
        )

    def list(self, tree: Tree, found: Found, problems: Problems, options: LayoutOptions) -> Listing:
        """Return the images that have a row; see `list_rows`."""
        tables, images = found.memory
        return list_rows(tree, tables, problems, images=images, rename_keys=options.rename_keys)


def find_tables(tree: Tree) -> list[str]:
    """Return the tables of a tree that have a usual name, in the order of the files."""
    return [
        path
        for folder in tree.folders
        for name in TABLE_NAMES
        if tree.has(path := f"{folder}/{name}" if folder else name)
    ]


def two_in_one_folder(tables: Sequence[str]) -> str:
    """Return what to do with two of these tables that are in one folder; "" if there are none."""
    table_of: dict[str, str] = {}
    for table in tables:
        other = table_of.setdefault(table.rpartition("/")[0], table)
        if other is not table:
            return f"two tables in one folder: {other} and {table}; keep one"
    return ""


def says_no_class(found: Found) -> bool:
    """Return whether the tables that were found say splits alone, or are text files without a column of classes."""
    uses: Sequence[TableUse] = found.memory[0]
    has_values = any(use.others for use in uses)
    kind = any(use.table.columns for use in uses) if has_values else any(use.split_column for use in uses)
    return kind and all(use.label is None for use in uses)


def _has_captions(table: TableText, images: NamedImages) -> bool:
    """Return whether a table is one for the layout of captions."""
    columns = head(table, 1)[0]
    key = examine(table, images).column if may_hold_captions(columns) else None
    return key is not None and caption_column(columns, key) is not None


def _given(tree: Tree, options: LayoutOptions) -> TableUse:
    """Return the table that the user named."""
    assert options.table is not None
    inside, data = tree.read_given(options.table)
    name = os.fspath(options.table) if inside is None else inside
    table, images = table_text(name, data), NamedImages(tree.files.names)
    if inside is None:  # its own folder says nothing about paths in the tree
        table = replace(table, name=os.path.basename(name))
    return replace(_named_columns(table, images, options), inside=inside is not None)


def _named_columns(table: TableText, images: NamedImages, options: LayoutOptions) -> TableUse:
    """Return how a table is used, with the columns that the user named."""
    columns, rows = head(table, EXAMINED_ROWS)
    if not columns:
        raise SourceError(f"{table.name} {head_problem(table)}; name another (--table)")
    if options.key_column is None:
        found = examine(table, images)
        if found.column is None:
            raise SourceError(_which_column(table, found, columns))
        return _use(replace(table, key=found.column), options)
    number = _column_number(columns, options.key_column, table, "key_column")
    if columns[number] != str(options.key_column) and images.find(columns[number], folder=table.folder) is not None:
        table = replace(table, header=False)  # the first line is a row
        columns = [str(column) for column in range(len(columns))]
    use = _use(replace(table, key=columns[number]), options)
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


def _use(table: TableText, options: LayoutOptions, *, several: bool = False, part: int | None = None) -> TableUse:
    """Return how a table is used whose key is known; one that is joined, with its number among the others."""
    columns, rows = head(table, EXAMINED_ROWS)
    label, class_name, given = None, None, options.label_column
    split_values = distinct_values(table, SPLIT)
    by_row = split_column(split_values, (table.key, given if given is None else str(given)))
    both = None if given is not None or table.key == FILE_NAME else class_columns(columns, rows, table.key)
    if both is not None:
        label, class_name = both
    elif part is not None:
        label = named_label(columns, table.key) if given is None else str(given) if str(given) in columns else None
    elif given is not None:
        label = columns[_column_number(columns, given, table, "label_column")]
    elif table.key != FILE_NAME:
        label = label_column(columns, rows, table.key, split=by_row)
    split = split_of_name(table.name) if several else None
    by_row = None if by_row == label else by_row
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
        split=split,
        split_column=by_row,
        split_values=() if by_row is None else tuple(split_values[by_row]),
        part=part or 0,
        others=others,
        exact=table.key == FILE_NAME,
    )


def _about_split(use: TableUse) -> str:
    """Return the question what a column called split says; "" if that is clear."""
    if use.split_column is None:
        return ""
    values = use.split_values
    texts = {value for value in values if isinstance(value, str) and not is_number(value)}
    if use.split is None and all(isinstance(v, str) and v in texts for v in values) and not split_names_problem(texts):
        return ""
    which = f"the column {use.split_column!r} of {use.table.name}"
    if use.split is not None:
        return f"{which} says the split of each image, and the table is named after one; rename one of them"
    shown = ", ".join(sorted(set(map(repr, values)))[:3])
    return (
        f"it is not clear whether {which} says the split of each image: its values are such as {shown}; write names "
        f"such as train and val, or say that it is the label (--label-column {use.split_column}), or rename the column"
    )


def _question(clear: Sequence[TableText], doubtful: Sequence[tuple[TableText, KeyColumns]], unjoined: str) -> str:
    """Return what must be asked about tables that name images; "" if all is clear.

    Args:
        clear: Tables of which it is known which column names images.
        doubtful: The others.
        unjoined: Why several cannot be joined; "" if they can.
    """
    if doubtful and not clear:
        table, found = doubtful[0]
        return _which_column(table, found, head(table, 0)[0])
    if wrong := next((table for table in clear if table.problem), None):
        name = wrong.name
        as_it_is = f"take it as it is (--table {name} --key-column {wrong.key}), or leave it out (--ignore {name})"
        return f"{name}: {wrong.problem}; correct it, or {as_it_is}"
    if unjoined:
        first, second = clear[0].name, clear[1].name
        names = ", ".join(repr(table.name) for table in clear[:3])
        return (
            f"{len(clear)} tables name images: {names}; they cannot be joined, as {unjoined}; use one and leave out "
            f"the others (--table {first} --ignore {second}, or --table {second} --ignore {first})"
        )
    if without := [table for table in clear if _lacks_header(table)]:
        return _headerless(without[0])
    repeated = [table.name for table in clear if _repeats_images(table)]
    return (
        f"{repeated[0]} has several rows for many images, and a label is made of one: write boxes as COCO "
        f"(--annotations), or all values of an image into one row, or leave the table out (--ignore {repeated[0]})"
        if repeated
        else ""
    )


def _to_join(tables: Sequence[TableText]) -> bool:
    """Return whether tables are not those of different splits, so that they are joined by image, if they can be."""
    splits = [split_of_name(table.name) for table in tables]
    return len(tables) > 1 and (
        None in splits or len({SPLIT_NAMES[name.lower()] for name in splits if name}) < len(splits)
    )


def _joined(tables: Sequence[TableText], options: LayoutOptions) -> list[TableUse]:
    uses = [_use(table, options, part=part) for part, table in enumerate(tables)]
    if options.label_column is not None and not any(use.label for use in uses):
        _column_number(
            [column for use in uses for column in use.others], options.label_column, tables[0], "label_column"
        )
    return uses


def join_problem(tables: Sequence[TableUse]) -> str:
    """Return why tables cannot be joined by image; "" if they can: as many rows each, and different columns."""
    counts = [num_rows(use.table) for use in tables]
    if len(set(counts)) > 1:
        other = next(number for number, count in enumerate(counts) if count != counts[0])
        names = f"{tables[0].table.name} has {counts[0]:,} rows, and {tables[other].table.name} {counts[other]:,}"
        return f"they describe different images: {names}"
    table_of: dict[str, str] = {}
    for use in tables:
        own = ("label", "class") if use.label is not None else ()
        for name in (*own, *use.others, *filter(None, [use.split_column])):
            other_table = table_of.setdefault(name, use.table.name)
            if other_table != use.table.name:
                return f"{name!r} would be from {other_table} and from {use.table.name}"
    return ""


def _about_few(tables: Sequence[TableText], tree: Tree) -> str:
    """Return the question about tables that can describe a small part of the images only: a list of bad ones, say."""
    images = sum(folder.num_images for folder in tree.folders.values())
    rows = sum(num_rows(table) for table in tables)
    if not tables or 2 * rows >= images:
        return ""
    name = tables[0].name
    return (
        f"{name} describes at most {rows:,} of {images:,} images; pack those alone with its columns as labels "
        f"(--table {name}), or all without it (--ignore {name})"
    )


def _lacks_header(table: TableText) -> bool:
    """Return whether the names of the columns look like a row: that of the key is the name of a file."""
    return table.kind == "csv" and re.fullmatch(r".*\.[A-Za-z0-9]{2,5}", table.key) is not None


def _repeats_images(table: TableText) -> bool:
    columns, rows = head(table, EXAMINED_ROWS)
    number = columns.index(table.key)
    keys = [str(row[number]) for row in rows if number < len(row)]
    return len(set(keys)) < NEARLY_ALL * len(keys)


def _headerless(table: TableText) -> str:
    columns = head(table, 0)[0]
    number = columns.index(table.key)
    label = next((other for other in range(len(columns)) if other != number), None)
    return (
        f"{table.name} has no line with the names of its columns: its first line is "
        f"{', '.join(map(repr, columns[:4]))}; say which columns are meant by their numbers "
        f"(--table {table.name} --key-column {number}"
        + ("" if label is None else f" --label-column {label}")
        + f"), or leave it out (--ignore {table.name})"
    )


def _which_column(table: TableText, found: KeyColumns, columns: Sequence[str]) -> str:
    """Return the question which column names the images."""
    shares = ", ".join(f"{column!r} {100 * found.shares.get(column, 0):.0f} %" for column in columns[:8])
    best = max(columns, key=lambda column: found.shares.get(column, 0))
    return (
        f"it is not clear which column of {table.name} names the images; of the values of each, this many name one: "
        f"{shares}; say which (--table {table.name} --key-column {best}), or leave it out (--ignore {table.name})"
    )


def _said(tables: Sequence[TableUse]) -> str:
    """Return what the labels hold, for the line before the work."""
    label = next((use.label for use in tables if use.label is not None), None)
    named = next((use.class_name for use in tables if use.class_name is not None), None)
    others = list(dict.fromkeys(column for use in tables for column in use.others))
    split = next((use.split_column for use in tables if use.split_column is not None), None)
    columns = f"column{'s' * (len(others) != 1)} {', '.join(others[:4])}{', ...' * (len(others) > 4)}" if others else ""
    return "; ".join(
        filter(
            None,
            (
                f"label from column {label!r}{f' and class from {named!r}' * (named is not None)}"
                if label is not None
                else "",
                columns,
                f"split from column {split!r}" if split is not None else "",
                texts_among(values for use in tables for values in _first_values(use)),
            ),
        )
    )


def _first_values(use: TableUse) -> Iterator[dict[str, Any]]:
    """Yield what the first rows of a table say beside the label."""
    columns, rows = head(use.table, EXAMINED_ROWS if TEXTS.intersection(use.others) else 0)
    for row in rows:
        yield {name: value for name, value in zip(columns, row, strict=False) if name in use.others}

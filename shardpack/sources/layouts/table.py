"""Tables beside images, such as the metadata.csv of Hugging Face's ImageFolder, or any other.

    metadata.csv             file_name,label,caption
    cat/0001.jpg             cat/0001.jpg,3,a cat          -> json {"label":3,"caption":"a cat"}

    labels.csv               id,breed
    train/0001.jpg           0001,beagle                   -> json {"label":0,"class":"beagle"}

A table with a usual name and a column `file_name` is taken as it is. Of any other table, the column that names images
is found by its values. This module decides which tables are used; `table_rows.py` makes labels of their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from shardpack.errors import SourceError
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
from shardpack.sources.layouts.table_columns import caption_column, may_hold_captions
from shardpack.sources.layouts.table_questions import about_few, about_split, about_tables, join_problem
from shardpack.sources.layouts.table_rows import TableUse, list_rows
from shardpack.sources.layouts.table_use import given_table, use_as_named, use_joined, use_table
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems
from shardpack.sources.splits import SPLIT_NAMES
from shardpack.sources.table_formats import head
from shardpack.sources.table_text import TableText, table_text
from shardpack.sources.tree import Tree


class Table:
    """Tables whose rows describe images, in any folder."""

    name = "table"

    def find(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables that were named, those with a usual name, or else those that name images."""
        if options.table is not None:
            return self._found([given_table(tree, options)])
        found = self._with_usual_names(tree, options) or self._that_name_images(tree, options)
        if found is None and options.asked:
            raise SourceError(
                f"no table in {tree.files.root!r}: expected a {', '.join(TABLE_NAMES[:-1])} or {TABLE_NAMES[-1]} "
                f"with a column {FILE_NAME!r}, or a table that names images; name it (--table)"
            )
        return found

    def _with_usual_names(self, tree: Tree, options: LayoutOptions) -> Found | None:
        tables = [table_text(name, tree.read(name)) for name in find_tables(tree)]
        tables = [table for table in tables if FILE_NAME in (head(table, 1)[0] or [FILE_NAME])]  # or damaged
        if not tables:
            return None
        found = self._found([use_table(table, options) for table in tables])
        return replace(found, question=two_in_one_folder([table.name for table in tables]) or found.question)

    def _that_name_images(self, tree: Tree, options: LayoutOptions) -> Found | None:
        """Return the tables of which a column names images, joined if they describe the same ones."""
        tables = [table_text(name, tree.read(name)) for name in other_tables(tree)] + spaced_tables(tree)
        images = NamedImages(tree.files.names if tables else ())
        examined = [(table, examine(table, images)) for table in tables if not _has_captions(table, images)]
        if options.key_column is not None and len(examined) == 1:
            return self._found([use_as_named(examined[0][0], images, options)], images=images)
        clear = [replace(table, key=found.column) for table, found in examined if found.column is not None]
        doubtful = [(table, found) for table, found in examined if found.column is None and found.shares]
        joined = use_joined(clear, options) if _to_join(clear) else []
        question = about_tables(clear, doubtful, join_problem(joined))
        if not question and not options.asked:
            question = about_few(clear, tree)
        if question:
            return Found(layout=self.name, rank=BY_TABLE, title="tables", question=question)
        if not clear:
            return None
        uses = joined or [use_table(table, options, several=len(clear) > 1) for table in clear]
        return self._found(uses, images=images)

    def _found(self, tables: Sequence[TableUse], *, images: NamedImages | None = None) -> Found:
        is_joined = any(use.part for use in tables)
        title = (" + " if is_joined else ", ").join(use.table.name for use in tables[:3])
        more = f" + {len(tables) - 3} more" if is_joined else ", ..."
        return Found(
            layout=self.name,
            rank=BY_TABLE,
            title=title + more * (len(tables) > 3) + ", joined by image" * is_joined,
            label=_said(tables),
            question=next(filter(None, map(about_split, tables)), ""),
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


def _to_join(tables: Sequence[TableText]) -> bool:
    """Return whether tables are not those of different splits, so that they are joined by image, if they can be."""
    splits = [split_of_name(table.name) for table in tables]
    return len(tables) > 1 and (
        None in splits or len({SPLIT_NAMES[name.lower()] for name in splits if name}) < len(splits)
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

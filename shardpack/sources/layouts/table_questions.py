"""What must be asked about tables before their rows become labels: a question, or "" if all is clear."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shardpack.format.split_names import split_names_problem
from shardpack.sources.csv_table import is_number
from shardpack.sources.layouts.any_tables import EXAMINED_ROWS
from shardpack.sources.layouts.table_columns import NEARLY_ALL, KeyColumns
from shardpack.sources.layouts.table_rows import TableUse
from shardpack.sources.table_formats import head, num_rows
from shardpack.sources.table_text import TableText
from shardpack.sources.tree import Tree


def about_tables(clear: Sequence[TableText], doubtful: Sequence[tuple[TableText, KeyColumns]], unjoined: str) -> str:
    """Return what must be asked about tables that name images; "" if all is clear.

    Args:
        clear: Tables of which it is known which column names images.
        doubtful: The others.
        unjoined: Why several cannot be joined; "" if they can.
    """
    if doubtful and not clear:
        table, found = doubtful[0]
        return which_column(table, found, head(table, 0)[0])
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


def about_split(use: TableUse) -> str:
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


def about_few(tables: Sequence[TableText], tree: Tree) -> str:
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


def which_column(table: TableText, found: KeyColumns, columns: Sequence[str]) -> str:
    """Return the question which column names the images."""
    shares = ", ".join(f"{column!r} {100 * found.shares.get(column, 0):.0f} %" for column in columns[:8])
    best = max(columns, key=lambda column: found.shares.get(column, 0))
    return (
        f"it is not clear which column of {table.name} names the images; of the values of each, this many name one: "
        f"{shares}; say which (--table {table.name} --key-column {best}), or leave it out (--ignore {table.name})"
    )

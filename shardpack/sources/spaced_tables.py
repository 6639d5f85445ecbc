"""Tables of text files whose columns are apart by white space, as CelebA has them, in the form that CSV is read in.

    list_attr_celeba.txt        list_eval_partition.txt        identity_CelebA.txt
    202599                      000001.jpg 0                   000001.jpg 2880
    Bald Smiling                000002.jpg 2                   000002.jpg 2937
    000001.jpg -1  1
    000002.jpg  1 -1

The first line counts the rows, and the second names the columns, but for that of the images; a partition may have them,
too. The numbers 0, 1 and 2 are splits in the file that is called a partition. Kaggle has that one as CSV, which is
brought to the same form. Other files are left to others.

Lines that are no rows become blank ones, so that rows keep the numbers of their lines, which messages name.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Sequence
from typing import NamedTuple

from shardpack.sources.splits import SPLIT_NAMES

KEY = "image_id"
# Name of a file without names of columns, in lower case and without extension -> the column beside the images.
_PARTITION = "partition"
_WITHOUT_NAMES = {"list_eval_partition": _PARTITION, "identity_celeba": "identity"}
_SPLITS = {b"0": b"train", b"1": b"val", b"2": b"test"}
_OF_SPLITS = (_PARTITION, "evaluation_status")  # columns of splits in tables with names of columns
_MOST_COUNT_DIGITS = 12
START_BYTES = 1024  # that tell whether a file may be such a table


class SpacedTable(NamedTuple):
    """A table as it is read.

    Attributes:
        columns: Their names.
        data: The rows with one space between cells, each in the line of the file that it is in.
        problem: What is not as expected, so that it is a question whether the table is meant; "" if nothing.
    """

    columns: tuple[str, ...]
    data: bytes
    problem: str = ""


def may_be_spaced(name: str, start: bytes) -> bool:
    """Return whether a file may be such a table, by its name and its first `START_BYTES`."""
    return _stem(name) in _WITHOUT_NAMES or _count(_first_line(start)) is not None


def spaced_table(name: str, data: bytes) -> SpacedTable | None:
    """Return the table that a text file holds; None if it holds something else.

    Args:
        name: The file.
        data: Its bytes.
    """
    column, first = _WITHOUT_NAMES.get(_stem(name)), _first_line(data)
    if column == _PARTITION and _names_columns_of_csv(first):
        return _partition_in_csv(data)
    if not name.lower().endswith(".txt") or b'"' in data:
        return None
    if (count := _count(first)) is not None:
        return _counted(count, data)
    return None if column is None else _without_names(column, data.removeprefix(BOM_UTF8))


def _names_columns_of_csv(first: bytes) -> bool:
    return [cell.strip(b' "\r').decode(errors="replace") for cell in first.split(b",")] == [KEY, _PARTITION]


def _partition_in_csv(data: bytes) -> SpacedTable | None:
    rows = data.partition(b"\n")[2].replace(b",", b" ").replace(b'"', b"")
    return _without_names(_PARTITION, b"\n" + rows)


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0].lower()


def _first_line(data: bytes) -> bytes:
    return data[:START_BYTES].removeprefix(BOM_UTF8).partition(b"\n")[0]


def _count(first: bytes) -> int | None:
    """Return the number that a first line is, or None."""
    return int(first) if first.strip().isdigit() and len(first) <= _MOST_COUNT_DIGITS else None


def _without_names(column: str, data: bytes) -> SpacedTable | None:
    """Return the table of two columns without names; None if a row has more or less."""
    rows = [row.split() for row in data.splitlines()]
    if any(len(row) not in (0, 2) for row in rows):
        return None
    problem = ""
    if column == _PARTITION:
        values = {row[1] for row in rows if row}
        if values <= _SPLITS.keys():
            column, rows = "split", [[row[0], _SPLITS[row[1]]] if row else row for row in rows]
        elif _are_splits(values):
            column = "split"
        else:
            other = min(values - _SPLITS.keys()).decode(errors="replace")
            problem = f"its splits are numbers, 0 for train, 1 for val and 2 for test, and one is {other!r}"
    return SpacedTable((KEY, column), b"\n".join(map(b" ".join, rows)), problem)


def _counted(count: int, data: bytes) -> SpacedTable | None:
    """Return the table whose second line names its columns; None if its rows do not fit them."""
    _, names, lines = (*data.split(b"\n", 2), b"", b"")[:3]
    rows = [b" ".join(row.split()) for row in lines.splitlines()]
    try:
        columns = names.decode().split()
    except UnicodeDecodeError:
        return None
    num_cells = {row.count(b" ") + 1 for row in rows if row}
    if num_cells == {len(columns) + 1}:
        columns = [KEY, *columns]
    if num_cells != {len(columns)}:
        return None
    found = sum(map(bool, rows))
    problem = "" if found == count else f"its first line says {count:,} rows, and it has {found:,}"
    return SpacedTable(_with_split(columns, rows), b"\n\n" + b"\n".join(rows), problem)


def _with_split(columns: Sequence[str], rows: Sequence[bytes]) -> tuple[str, ...]:
    """Return the names of columns; one of a partition that has nothing but names of splits is called `split`."""
    of_splits = [number for number, column in enumerate(columns) if column.lower() in _OF_SPLITS]
    if len(of_splits) != 1 or not _are_splits({row.split(b" ")[of_splits[0]] for row in rows if row}):
        return tuple(columns)
    return (*columns[: of_splits[0]], "split", *columns[of_splits[0] + 1 :])


def _are_splits(values: set[bytes]) -> bool:
    return all(value.decode(errors="replace").lower() in SPLIT_NAMES for value in values)

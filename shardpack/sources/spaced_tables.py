"""Tables of text files whose columns are apart by white space, as CelebA has them, in the form that CSV is read in.

    list_attr_celeba.txt        list_eval_partition.txt        identity_CelebA.txt
    202599                      000001.jpg 0                   000001.jpg 2880
    Bald Smiling                000002.jpg 2                   000002.jpg 2937
    000001.jpg -1  1
    000002.jpg  1 -1

The first line counts the rows, and the second names the columns, but for that of the images. The numbers 0, 1 and 2 are
splits in the file that is called a partition, also where that is CSV. Other files are left to others.
"""

from __future__ import annotations

from typing import NamedTuple

KEY = "image_id"
# Name of a file without names of columns, in lower case and without extension -> the column beside the images.
_WITHOUT_NAMES = {"list_eval_partition": "partition", "identity_celeba": "identity"}
_SPLITS = {b"0": b"train", b"1": b"val", b"2": b"test"}
_MOST_COUNT_DIGITS = 12


class SpacedTable(NamedTuple):
    """The columns of a table; and its rows with one space between cells, each in the line of the file that it is in."""

    columns: tuple[str, ...]
    data: bytes


def spaced_table(name: str, data: bytes) -> SpacedTable | None:
    """Return the table that a text file holds; None if it holds something else.

    Args:
        name: The file.
        data: Its bytes.
    """
    stem, _, extension = name.rpartition("/")[2].lower().rpartition(".")
    data = data.removeprefix(b"\xef\xbb\xbf")
    column = _WITHOUT_NAMES.get(stem)
    first, _, rest = data.partition(b"\n")
    if column == "partition" and first.strip() == b"image_id,partition":
        return _numbered(column, b"\n" + rest.replace(b",", b" "))
    if extension != "txt" or b'"' in data:
        return None
    if column is None:
        if not first.strip().isdigit() or len(first) > _MOST_COUNT_DIGITS:
            return None
        names, _, rest = rest.partition(b"\n")
        return _counted(int(first), names, rest)
    return _numbered(column, data)


def _numbered(column: str, data: bytes) -> SpacedTable | None:
    """Return the table of two columns without names; None if a row has more or less."""
    rows = [row.split() for row in data.splitlines()]
    if any(len(row) not in (0, 2) for row in rows):
        return None
    if column == "partition" and all(row[1] in _SPLITS for row in rows if row):
        column, rows = "split", [[row[0], _SPLITS[row[1]]] if row else row for row in rows]
    return SpacedTable((KEY, column), b"\n".join(map(b" ".join, rows)))


def _counted(count: int, names: bytes, data: bytes) -> SpacedTable | None:
    """Return the table with these names of columns; None if its rows are not as many, or do not fit."""
    rows = [b" ".join(row.split()) for row in data.splitlines()]
    try:
        columns = tuple(names.decode().split())
    except UnicodeDecodeError:
        return None
    num_cells = {row.count(b" ") + 1 for row in rows if row}
    if num_cells == {len(columns) + 1}:
        columns = (KEY, *columns)
    if num_cells != {len(columns)} or sum(map(bool, rows)) != count:
        return None
    return SpacedTable(columns, b"\n\n" + b"\n".join(rows))

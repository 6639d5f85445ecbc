"""How the cells of a CSV file are apart: by which mark, and whether blanks behind it are a part of them."""

from __future__ import annotations

import re

FILE_NAME = "file_name"
_HEAD_BYTES = 1 << 20  # in which the first line ends


def delimiter_of(name: str, data: bytes) -> str:
    """Return what is between the cells of a table, as its name and its first line tell; " " for any white space."""
    if name.lower().endswith(".tsv"):
        return "\t"
    first = _first_line(data)
    return next((mark for mark in ",\t;|" if mark in first), " " if name.endswith(".txt") else ",")


def blanks_are_no_values(data: bytes, delimiter: str) -> bool:
    """Return whether blanks in front of cells are how a file is written: `a.jpg, cat, "one, two"`.

    So it is if each cell but the first of a line has one, also in the line of names. In a table with a column
    `file_name` all blanks are values, as they are to others that read it.
    """
    if delimiter in " |":
        return True
    names = [name.strip('"\r') for name in _first_line(data).split(delimiter)]
    if FILE_NAME in names or len(names) == 1 or any(name[:1] != " " for name in names[1:]):
        return False
    quoted_or_without = rb'"[^"]*"|' + re.escape(delimiter.encode()) + rb"(?![ \r\n]|\Z)"
    return all(found[0][:1] == b'"' for found in re.finditer(quoted_or_without, data))


def column_names(cells: list[str]) -> list[str]:
    """Return the names of columns without blanks around them, unless only these tell two apart; see above."""
    names = list(map(str.strip, cells))
    return cells if FILE_NAME in cells or len({*names}) < len({*cells}) else names


def _first_line(data: bytes) -> str:
    return data[:_HEAD_BYTES].lstrip().partition(b"\n")[0].decode("utf-8-sig", errors="replace")

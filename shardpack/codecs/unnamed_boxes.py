"""Boxes whose name does not tell: four numbers that fit into the image, as corners, or as a corner and a size.

Numbers alone prove nothing: four numbers may be a mean colour, or four classes. So names decide here, too: what is
called a colour, a mean, an embedding or labels does not count (`OTHERS`). Rows of four are boxes if all of them could
be. A text that is JSON is looked into. What is relative, all numbers at most 1, is not found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

from shardpack.codecs.field_types import opened
from shardpack.codecs.label_words import OTHERS, words_of

MOST_COLUMNS = 12  # of a CSV that may hold boxes: longer rows are vectors
_ROWS = 100  # of a CSV that are looked at


def find_box(value: Any, side: int, path: str = "") -> str | None:
    """Return where in a JSON value the first four numbers are that may be a box; None without any.

    Args:
        value: The value.
        side: The longer side of the image: also of one that is turned.
        path: Where the value is.
    """
    value = opened(value)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if words_of(str(name)).isdisjoint(OTHERS):
                inside = f"{path}.{name}" if path else str(name)
                if isinstance(inner, (Mapping, list, tuple, str)) and (found := find_box(inner, side, inside)):
                    return found
    elif isinstance(value, (list, tuple)):
        if may_be_box(value, side) or (value and all(may_be_box(row, side) for row in value)):
            return path or "its top level"
        if all(_are_four_numbers(row) for row in value):
            return None  # a matrix
        for number, inner in enumerate(value):
            if isinstance(inner, (Mapping, list, tuple, str)) and (found := find_box(inner, side, f"{path}[{number}]")):
                return found
    return None


def may_be_box(value: Any, side: int) -> bool:
    """Return whether a value is four numbers that are a box in pixels, within an image of this longer side."""
    if not _are_four_numbers(value):
        return False
    x, y, third, fourth = value
    if not (0 <= x <= side and 0 <= y <= side and max(value) > 1):
        return False
    are_corners = x + 1 <= third <= side and y + 1 <= fourth <= side
    is_size = 1 <= third <= side - x and 1 <= fourth <= side - y
    return bool(are_corners or is_size)


def _are_four_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(type(one) in {int, float} for one in value)


def find_box_columns(text: str, side: int) -> str | None:
    """Return which columns of a CSV may be boxes in all of its rows; None if none, or if the first row has names."""
    rows = [re.split(r"[,;\t]", line) for line in islice(filter(str.strip, text.splitlines()), _ROWS)]
    width = min(map(len, rows), default=0)
    if not 4 <= width <= MOST_COLUMNS:
        return None
    numbers = [[_number(column) for column in row] for row in rows]
    for first in range(width - 3):
        if all(may_be_box(row[first : first + 4], side) for row in numbers):
            return f"columns {first + 1} to {first + 4}"
    return None


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def are_boxes(array: Any, side: int) -> bool:
    """Return whether all rows of an array are four numbers that may be boxes."""
    shape = tuple(getattr(array, "shape", ()))
    return shape[1:] == (4,) and shape[0] > 0 and all(may_be_box(row, side) for row in array.tolist())

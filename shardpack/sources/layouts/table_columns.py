"""What the columns of a table mean, decided by their names and by the values of its first rows.

The column that names the images is found by its values: nearly all of them name one. Nothing is guessed where two
columns do, or where many values name none.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.sources.csv_table import is_number
from shardpack.sources.layouts.named_images import NamedImages

NEARLY_ALL = 0.9  # of the values of a column name images
_LABEL_NAMES = (
    "label",
    "labels",
    "class",
    "class_name",
    "classname",
    "label_name",
    "category",
    "category_name",
    "target",
)
SPLIT = "split"
_CAPTION_NAMES = ("caption", "captions", "comment", "sentence", "sentences", "text", "description")


@dataclass(frozen=True, slots=True)
class KeyColumns:
    """The columns of a table that name images.

    Attributes:
        column: The one that does, or None if that is not clear.
        shares: Column -> part of its values that name an image, for each column that names any.
    """

    column: str | None
    shares: Mapping[str, float]


def key_columns(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    images: NamedImages,
    *,
    folder: str = "",
    split: str | None = None,
) -> KeyColumns:
    """Return which column names the images: one of whose values nearly all do.

    Of several such columns it is the one that says most of the paths, or else names far more images.

    Args:
        columns: Names of the columns.
        rows: The first rows, a value for each column.
        images: The images of the tree.
        folder: Folder of the table.
        split: Split of the table, or None.
    """
    shares: dict[str, float] = {}
    clear: dict[str, tuple[int, int]] = {}  # column -> (how its values name images, number of images)
    for number, column in enumerate(columns):
        values = [row[number] for row in rows if number < len(row) and row[number] not in (None, "")]
        matches = [match for value in values if (match := images.find(value, folder=folder, split=split)) is not None]
        if not matches:
            continue
        shares[column] = len(matches) / len(values)
        if shares[column] >= NEARLY_ALL:
            clear[column] = (min(match.how for match in matches), len({match.paths[0] for match in matches}))
    best = max((how for how, _ in clear.values()), default=0)
    most = max((count for how, count in clear.values() if how == best), default=0)
    chosen = [column for column, (how, count) in clear.items() if how == best and 2 * count > most]
    return KeyColumns(chosen[0] if len(chosen) == 1 else None, shares)


def label_column(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], key: str, *, split: str | None = None
) -> str | None:
    """Return the column that holds the class of an image, or None.

    That is the only one with a usual name, or the only one beside the key and the split, if its values come again or
    are numbers.
    """
    if (named := named_label(columns, key)) is not None:
        return named
    others = [column for column in columns if column not in (key, split)]
    if len(others) != 1 or others[0].lower() in _CAPTION_NAMES:
        return None
    number = columns.index(others[0])
    values = [row[number] for row in rows if number < len(row) and row[number] not in (None, "")]
    hashable = all(isinstance(value, (str, int)) for value in values)
    return others[0] if hashable and values and len(set(values)) < len(values) else None


def named_label(columns: Sequence[str], key: str) -> str | None:
    """Return the only column with a usual name of labels, or None."""
    named = [column for column in columns if column != key and column.lower() in _LABEL_NAMES]
    return named[0] if len(named) == 1 else None


def split_column(values: Mapping[str, Sequence[Any]], used: Collection[str | None]) -> str | None:
    """Return the column that may say the split of each image, or None: the one called split, unless it holds numbers.

    Args:
        values: The different values of all rows, of each column called split.
        used: Columns that mean something else.
    """
    named = [column for column in values if column not in used]
    return None if len(named) != 1 or all(map(is_number, values[named[0]])) else named[0]


def class_columns(columns: Sequence[str], rows: Sequence[Sequence[Any]], key: str) -> tuple[str, str] | None:
    """Return the columns "label" and "class" of a table that has both: numbers, and the names of the same classes."""
    if "label" not in columns or "class" not in columns or key in ("label", "class"):
        return None
    number, name = columns.index("label"), columns.index("class")
    pairs = [(str(row[number]), row[name]) for row in rows if max(number, name) < len(row)]
    numbers = all(label.isdecimal() and isinstance(text, str) for label, text in pairs)
    same = len(set(pairs)) == len({label for label, _ in pairs}) == len({text for _, text in pairs})
    return ("label", "class") if pairs and numbers and same else None


def may_hold_captions(columns: Sequence[str]) -> bool:
    """Return whether a column has a usual name of captions."""
    return any(column.strip().lower() in _CAPTION_NAMES for column in columns)


def caption_column(columns: Sequence[str], key: str) -> str | None:
    """Return the column that holds captions, or None: the only one with a usual name in a table of few columns.

    Beside it there may be numbers of captions, and nothing that looks like a label.
    """
    others = [column for column in columns if column != key]
    named = [column for column in others if column.strip().lower() in _CAPTION_NAMES]
    rest = [column for column in others if column not in named]
    numbers = all(column.strip().lower() in ("comment_number", "caption_number", "index", "id", "") for column in rest)
    return named[0] if len(named) == 1 and numbers else None

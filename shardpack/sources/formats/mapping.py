"""How the columns of a row become a sample, in every format alike.

    bytes of an image, an array, sound   a field named by their first bytes: jpg
    several such columns                 the main one as above, the others with their column before: depth.png
    such columns beside __key__          named by their column unless that is `image` or the like: exports have it so
    list of images                       0.jpg, 1.jpg, ...
    texts called annotations, captions   lists, if they are JSON of the shape of labels (`sources/label_text.py`)
    numbers, texts, lists, maps          one field json; NaN becomes null; lists of one unwrapped where all are lists
    the label column                     label in json, and class if the class names are known (`column_scan.py`)
    others called label or class         label_column, class_column: beside a label column that says something else
    arrays of two and more dimensions    npy, or png if raw pixels are wanted so
    other bytes                          a text in json if they are UTF-8, otherwise <column>.bin
    the key column                       the key, without the ending of an image; otherwise the number of the row

`choose_mapping.py` decides which columns have a role, and `row_values.py` what a value is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shardpack.errors import SourceError
from shardpack.sources.formats.importer import ROW_NUMBER, Raw
from shardpack.sources.formats.row_values import key_text, path_of, payloads_of, pixels_of, plain_value
from shardpack.sources.label_text import from_text

Columns = Mapping[str, Any]

_CAPTIONS = "captions"  # a list in the shape of labels, also of one
_NOT_IN_FIELD = re.compile(r"[^a-z0-9_-]+")


def field_name(column: str) -> str:
    """Return a column's name as the name of a field: lower case, without dots, slashes and blanks."""
    return _NOT_IN_FIELD.sub("_", column.lower()).strip("_") or "column"


@dataclass(frozen=True, slots=True)
class RowMapping:
    """The roles of columns. Pickles.

    Attributes:
        main: Column whose payload is named by its kind alone, or None.
        key_column: Column that holds the key; None for row numbers.
        label_column: Column that becomes `label`, or None.
        classes: Class names in the order of labels, or None.
        unwrap: Whether a list of one is its element: in formats that have nothing but lists.
        binary: Columns whose bytes are fields even where they are a text, since in other rows they are none.
        raw: Field of arrays that have the shape of an image.
        text_label: Whether the label column holds texts.
        class_list: Class names of the dataset, by which no column is named: those of a list beside an export.
    """

    main: str | None = None
    key_column: str | None = None
    label_column: str | None = None
    classes: tuple[str, ...] | None = None
    unwrap: bool = True
    binary: frozenset[str] = frozenset()
    raw: Raw = "npy"
    text_label: bool = False
    class_list: tuple[str, ...] | None = None
    _number_of: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = {name: number for number, name in enumerate(self.classes or ())}
        object.__setattr__(self, "_number_of", numbers)

    def key(self, columns: Columns, number: str) -> str:
        """Return the key of a row; `number` is its row number, as text.

        Raises:
            SourceError: The key column is missing in the row, or holds neither a text nor an integer.
        """
        if self.key_column is None:
            return number
        value = self.value_of_key(columns)
        key = key_text(value)
        if key is None:
            raise SourceError(
                f"key column {self.key_column!r} holds {value!r:.60}, expected a text or an integer; "
                f"choose another key_column (--key-column), or {ROW_NUMBER!r} for row numbers"
            )
        return key

    def value_of_key(self, columns: Columns) -> Any:
        """Return what the key column holds in a row; None without such a column."""
        return None if self.key_column is None else path_of(columns.get(self.key_column))

    def fields(self, columns: Columns) -> dict[str, Any]:
        """Return the fields of a row: payloads as bytes, values as `encode_field` takes them.

        Raises:
            SourceError: Two columns would have the same field, or a label has no class.
        """
        fields: dict[str, Any] = {}
        labels: dict[str, Any] = {}
        for column, value in columns.items():
            if value is None:
                continue
            payloads = self.payloads(column, value)
            for name, payload in payloads:
                if name in fields:
                    raise SourceError(f"two columns would be field {name!r}; rename one of them ({column!r})")
                fields[name] = payload
            if not payloads and column != self.key_column:
                found = self._labels_of(column, value)
                if twice := found.keys() & labels.keys():
                    raise SourceError(f"two columns would be {min(twice)!r} in json; rename one of them ({column!r})")
                labels |= found
        self._drop_repeated(labels, columns)
        if labels:
            if "json" in fields:
                raise SourceError("a column is a field 'json' already, where labels belong; rename it")
            fields["json"] = labels
        return fields

    def payloads(self, column: str, value: Any) -> list[tuple[str, Any]]:
        """Return (field, payload) of what a column holds in a row; nothing if that belongs to the labels."""
        name = "" if column == self.main else field_name(column)
        if self.raw == "png" and isinstance(value, np.ndarray) and (pixels := pixels_of(value)) is not None:
            return [(f"{name}.png" if name else "png", pixels)]
        return payloads_of(name, value, unwrap=self.unwrap, binary=column in self.binary)

    def _drop_repeated(self, labels: dict[str, Any], columns: Columns) -> None:
        """Drop what a column called label or class says if the label column says the same."""
        for column in ("label", "class"):
            new = self.name_in_json(column)
            if new != column and column in columns and labels.get(new) == labels.get(column):
                labels.pop(new, None)

    def name_in_json(self, column: str) -> str:
        """Return the name that a column other than the label has in json: its own, if the label does not take it."""
        if self.label_column is None or column == self.label_column:
            return column
        taken = ("label", "class") if self.classes is not None else ("class",) if self.text_label else ("label",)
        return f"{column}_column" if column in taken else column

    def _labels_of(self, column: str, value: Any) -> dict[str, Any]:
        """Return what a column is in json."""
        plain = plain_value(value, unwrap=self.unwrap)
        if column != self.label_column:
            named = from_text(column, plain)
            one_text = self.unwrap and column == _CAPTIONS and isinstance(named, str)
            return {self.name_in_json(column): [named] if one_text else named}
        if isinstance(plain, str) and self.classes:
            if plain not in self._number_of:
                raise SourceError(f"label {plain!r:.60} in column {column!r} is in none of {len(self.classes)} classes")
            plain = self._number_of[plain]
        if isinstance(plain, float) and plain.is_integer():
            plain = int(plain)
        if isinstance(plain, str):
            return {"class": plain}
        labels = {"label": plain}
        if self.classes is not None and isinstance(plain, int) and plain >= 0:  # below 0: not labelled
            if plain >= len(self.classes):
                raise SourceError(f"label {plain} in column {column!r} has no name: {len(self.classes)} classes")
            labels["class"] = self.classes[plain]
        return labels

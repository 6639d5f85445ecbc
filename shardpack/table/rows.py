"""Rows of the table: what was read of some samples, as columns of Arrow.

facts --parse--> values by column name --type--> arrays        rows of one type --conform--> rows of another

The names behind the first 500 stand in the column `more`, as the object of JSON that they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shardpack.codecs.compression import split_compression
from shardpack.codecs.decode import decode_field
from shardpack.codecs.field_types import parse_json
from shardpack.codecs.label_types import plain_json_text
from shardpack.errors import DecodeError
from shardpack.format.naming import key_text
from shardpack.format.splits import NO_SPLIT
from shardpack.runtime.arrays import Integers
from shardpack.table.heads import Facts
from shardpack.table.libraries import pyarrow_module
from shardpack.table.schema import (
    FROM_JSON,
    MAX_LABELS,
    MORE,
    OWN,
    Types,
    arrow_column,
    arrow_type,
    cast,
    column_name,
    own_types,
    plain_values,
    type_of_values,
)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of some samples.

    Attributes:
        table: The columns of `OWN`, then those of labels, then `more` if any row has something there.
        types: Of all names of labels, also of those in `more`, in the order in which they first came.
    """

    table: Any
    types: Types

    def __len__(self) -> int:
        return int(self.table.num_rows)


class SplitNumbers(Protocol):
    """Named splits: `format.splits.Splits`, and `read.named_splits.NamedSplits`."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def numbers(self, positions: Integers) -> npt.NDArray[np.uint16]:
        """Return (n) the number of the split that each stored position is in, or `NO_SPLIT`."""
        ...


@dataclass(frozen=True, slots=True)
class Naming:
    """What the dataset knows of all samples: class names in label order, and named splits."""

    classes: tuple[str, ...] | None = None
    splits: SplitNumbers | None = None


@dataclass(slots=True)
class _Labels:
    """Values of labels by column, filled sample by sample."""

    columns: dict[str, list[Any]] = field(default_factory=dict)
    more: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)  # (row, value) of the names behind the first

    def add(self, row: int, values: Mapping[str, Any]) -> None:
        columns = self.columns
        for name, value in values.items():
            column = columns.get(name)
            if column is None:
                if len(columns) >= MAX_LABELS:
                    self.more.setdefault(name, []).append((row, value))
                    continue
                column = columns[name] = []
            if len(column) < row:
                column.extend([None] * (row - len(column)))
            column.append(value)

    def arrays(self, num_rows: int) -> tuple[dict[str, Any], Types]:
        """Return the columns, `more` last if there is one, and the types of all names; all rows have been added."""
        pa = pyarrow_module()
        for column in self.columns.values():
            column.extend([None] * (num_rows - len(column)))
        types = {name: type_of_values(column) for name, column in self.columns.items()}
        arrays = {name: arrow_column(column, types[name]) for name, column in self.columns.items()}
        if self.more:
            types |= {name: type_of_values([value for _, value in pairs]) for name, pairs in self.more.items()}
            arrays[MORE] = pa.array(self._more_texts(num_rows), pa.string())
        return arrays, types

    def _more_texts(self, num_rows: int) -> list[str | None]:
        objects: list[dict[str, Any]] = [{} for _ in range(num_rows)]
        for name, pairs in self.more.items():
            for row, value in pairs:
                objects[row][name] = value
        return [plain_json_text(one) if one else None for one in objects]


def make_rows(facts: Sequence[Facts], positions: Integers, naming: Naming) -> Rows:
    """Return the rows of some samples.

    Args:
        facts: What was read of them.
        positions: Their stored positions.
        naming: Classes and splits of the dataset.

    Raises:
        DecodeError: A label is not what its field's name says.
    """
    labels, classes = _Labels(), list[str | None]()
    for row, one in enumerate(facts):
        try:
            values, name = _values_of(one.labels, naming.classes)
        except DecodeError as error:
            raise DecodeError(error.args[0], key=key_text(one.key)) from error
        labels.add(row, values)
        classes.append(name)
    arrays, types = labels.arrays(len(facts))
    return Rows(pyarrow_module().table({**_own_arrays(facts, positions, naming, classes), **arrays}), types)


def _own_arrays(
    facts: Sequence[Facts], positions: Integers, naming: Naming, classes: Sequence[str | None]
) -> dict[str, Any]:
    """Return the columns of `OWN`."""
    pa = pyarrow_module()
    sizes = [one.size for one in facts]
    arrays = [
        pa.array([_text(one.key) for one in facts], pa.string()),
        pa.array(positions, pa.int64()),
        split_column(positions, naming.splits),
        pa.array(classes, pa.string()),
        pa.array([size and size.width for size in sizes], pa.int32()),
        pa.array([size and size.height for size in sizes], pa.int32()),
        pa.array([size and (size.mode or None) for size in sizes], pa.string()),
        pa.array([size and (size.format or None) for size in sizes], pa.string()),
        pa.array([one.image_bytes for one in facts], pa.int64()),
    ]
    return dict(zip(OWN, arrays, strict=True))


def _text(key: bytes) -> str:
    """Return a key as text; bytes that are not UTF-8, of foreign tars, become escapes."""
    return key.decode("utf-8", "backslashreplace")


def split_column(positions: Integers, splits: SplitNumbers | None) -> Any:
    """Return the names of the splits that stored positions are in, as the column `split`."""
    pa = pyarrow_module()
    if splits is None:
        return pa.nulls(len(positions), pa.string())
    numbers = splits.numbers(positions)
    codes = pa.array(numbers.astype(np.int32), mask=numbers == NO_SPLIT)
    return pa.DictionaryArray.from_arrays(codes, pa.array(splits.names, pa.string())).cast(pa.string())


def _values_of(payloads: Mapping[str, Any], classes: tuple[str, ...] | None) -> tuple[dict[str, Any], str | None]:
    """Return the values of a sample's labels by column, and its class: by name, or else by its number."""
    values: dict[str, Any] = {}
    name: Any = None
    number: Any = None
    for stored_field, payload in payloads.items():
        plain, suffix = split_compression(stored_field)
        if plain == "cls":
            number = decode_field(stored_field, payload) if number is None else number
            continue
        value = _json_of(stored_field, payload) if suffix is None else decode_field(stored_field, payload)
        if not isinstance(value, dict):
            values[plain] = value
            continue
        if plain == FROM_JSON:
            name, number = value.get("class"), value.get("label", number)
            if isinstance(name, str):
                value = {key: one for key, one in value.items() if key != "class"}
        for key, one in value.items():
            values[column_name(plain, key)] = one
    if "cls" in payloads:
        values.setdefault("label", number)
    return values, _class_of(name, number, classes)


def _class_of(name: Any, number: Any, classes: tuple[str, ...] | None) -> str | None:
    if isinstance(name, str):
        return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
    is_known = classes is not None and type(number) is int and 0 <= number < len(classes)
    return classes[number] if is_known and classes is not None else None


def _json_of(stored_field: str, payload: Any) -> Any:
    try:
        return parse_json(bytes(payload))
    except DecodeError as error:
        raise DecodeError(f"field {stored_field!r} is {error.args[0]}") from error


# --- One type for many --------------------------------------------------------------------------


def conform(rows: Rows, types: Types) -> Any:
    """Return the table of some rows with the columns that `types` says, after those of `OWN`.

    Names of theirs that are not among these go to `more`, and names of `more` that are come out of it.
    """
    pa = pyarrow_module()
    table, more = rows.table, _More(rows.table)
    columns = table.column_names
    arrays = {name: table[name].cast(kind) for name, kind in own_types().items()}  # files have dictionaries of classes
    for name, kind in types.items():
        if name in columns:
            arrays[name] = cast(table[name], rows.types[name], kind)
        elif name in rows.types:
            arrays[name] = arrow_column(more.take(name), kind)
        else:
            arrays[name] = pa.nulls(len(rows), arrow_type(kind))
    for name in columns[len(OWN) :]:
        if name != MORE and name not in types:
            more.put(name, plain_values(table[name], rows.types[name]))
    if (texts := more.texts()) is not None:
        arrays[MORE] = pa.array(texts, pa.string())
    return pa.table(arrays)


class _More:
    """The column `more` of a table as an object for each row; none are made for a table without, until one is put."""

    def __init__(self, table: Any) -> None:
        self._count = table.num_rows
        self._objects: list[dict[str, Any]] = []
        if MORE in table.column_names:
            self._objects = [json.loads(text) if text else {} for text in table[MORE].to_pylist()]

    def take(self, name: str) -> list[Any]:
        """Remove a name; return its values, None in rows without it."""
        return [one.pop(name, None) for one in self._objects] or [None] * self._count

    def put(self, name: str, values: Iterable[Any]) -> None:
        """Add the values of a name, one for each row."""
        self._objects = self._objects or [{} for _ in range(self._count)]
        for one, value in zip(self._objects, values, strict=True):
            if value is not None:
                one[name] = value

    def texts(self) -> list[str | None] | None:
        """Return the objects as JSON, None for empty ones; None if all are."""
        if not any(self._objects):
            return None
        return [plain_json_text(one) if one else None for one in self._objects]

"""Names and types of the table's columns, and values of one type as those of another. Pure, but for pyarrow's types.

    own        key, position, split, class, width, height, mode, format, bytes
    labels     the names of the object in `json`; those in `x.json` as `x.json.name`; other values as their field's name
    more       a JSON object with the labels that are not among the first 500 names

A label called like an own column, or like one of a field, gets `json_` in front, and so does one that has it already:
no two labels get one name. Types are those of `codecs/label_types.py`; SPEC 5.7 has the rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from shardpack.codecs.label_types import (
    BOOL,
    FLOAT,
    INT,
    JSON,
    LONG,
    NULL,
    STR,
    LabelType,
    converter_to,
    merge,
    merge_members,
    object_of,
    plain_json_text,
    storable,
    type_of,
)
from shardpack.table.libraries import pyarrow_module

OWN = ("key", "position", "split", "class", "width", "height", "mode", "format", "bytes")
MORE = "more"
MAX_LABELS = 500
FROM_JSON = "json"  # the field whose names become columns as they are

_PREFIX = "json_"
_TAKEN = re.compile(
    rf"(?:{_PREFIX})*(?:|{'|'.join(OWN)}|{MORE}|{FROM_JSON}|.*\.json(?:\..*)?)", re.IGNORECASE | re.DOTALL
)
_PLAIN = {one.name: one for one in (NULL, BOOL, INT, LONG, FLOAT, STR, JSON)}
_METADATA = b"shardpack"
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)

Types = dict[str, LabelType]  # of the label columns, in the order in which their names first came


@lru_cache(maxsize=4096)
def column_name(field: str, name: str) -> str:
    """Return the column for a name in the object of a JSON field, which is given without its compression."""
    if field != FROM_JSON:
        return _in_unicode(f"{field}.{name}")
    return _in_unicode(_PREFIX + name if _TAKEN.fullmatch(name) else name)


def names_in_sql(columns: Iterable[str], *, but: str) -> dict[str, str]:
    """Return the name of each column in SQL, where those that differ in case only are one: Score, score_1."""
    taken = {_folded(but)}
    names = {}
    for column in columns:
        name, number = column, 0
        while _folded(name) in taken:
            number += 1
            name = f"{column}_{number}"
        taken.add(_folded(name))
        names[column] = name
    return names


def _folded(name: str) -> str:
    """Return a name without the case of its ASCII letters, the only ones that SQL folds."""
    return name.translate(_LOWER)


def _in_unicode(name: str) -> str:
    """Return a name without halves of characters, which JSON can hold and UTF-8 cannot."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()


def type_of_values(values: Sequence[Any]) -> LabelType:
    """Return the smallest type that holds all values, of which any may be None."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) == 1:
        (kind,) = kinds
        if kind in (bool, float):
            return BOOL if kind is bool else FLOAT
        present = [value for value in values if value is not None]
        if kind is int:
            return merge(type_of(min(present)), type_of(max(present)))
        if kind is str:
            return type_of("".join(present))
    found = NULL
    for value in values:
        found = merge(found, type_of(value))
    return found


def merge_types(first: Types, second: Types) -> Types:
    """Return the types of the columns of both; the first `MAX_LABELS` names are columns."""
    merged = merge_members(first, second)
    return {name: merged[name] for name in list(merged)[:MAX_LABELS]}


# --- Arrow ------------------------------------------------------------------------------------


def own_types() -> dict[str, Any]:
    """Return the Arrow types of the columns of `OWN`."""
    pa = pyarrow_module()
    types = dict.fromkeys(OWN, pa.string())
    return {
        **types,
        **dict.fromkeys(("position", "bytes"), pa.int64()),
        **dict.fromkeys(("width", "height"), pa.int32()),
    }


def arrow_type(kind: LabelType) -> Any:
    """Return the Arrow type of a column."""
    return _arrow_type(pyarrow_module(), storable(kind))


def _arrow_type(pa: Any, kind: LabelType) -> Any:
    if kind.name == "list":
        assert kind.element is not None
        # Named as in Parquet, and not "item" as Arrow does: so what is read back has the type that was written.
        return pa.list_(pa.field("element", _arrow_type(pa, kind.element)))
    if kind.name == "object":
        return pa.struct([(name, _arrow_type(pa, one)) for name, one in kind.members])
    if kind.name in ("int", "long"):
        return pa.int64()
    return {"bool": pa.bool_(), "float": pa.float64(), "str": pa.string(), "json": pa.string()}[kind.name]


def arrow_column(values: Sequence[Any], kind: LabelType) -> Any:
    """Return values of JSON as an Arrow array of a type that holds them."""
    convert = converter_to(storable(kind), text=plain_json_text)
    if convert is not None:
        values = [None if value is None else convert(value) for value in values]
    return pyarrow_module().array(values, arrow_type(kind))


def cast(column: Any, before: LabelType, after: LabelType) -> Any:
    """Return a column of one type as one of another that holds all of its values."""
    pa, target = pyarrow_module(), arrow_type(after)
    if before == NULL:
        return pa.nulls(len(column), target)
    if _stored(before) == _stored(after):
        return column
    if (before.name, after.name) == ("int", "float"):
        return column.cast(target)
    values = [_plain(value, storable(before)) for value in column.to_pylist()]
    return arrow_column(values, after)


def _stored(kind: LabelType) -> LabelType:
    """Return one type for all that columns store alike."""
    kind = LONG if kind == INT else storable(kind)
    if kind.name == "list":
        assert kind.element is not None
        return LabelType("list", _stored(kind.element))
    return LabelType(kind.name, members=tuple((name, _stored(one)) for name, one in kind.members))


def plain_values(column: Any, kind: LabelType) -> list[Any]:
    """Return the values of a column as those of JSON that they were made of; missing names of objects stay missing."""
    return [_plain(value, storable(kind)) for value in column.to_pylist()]


def _plain(value: Any, kind: LabelType) -> Any:
    """Return the value of JSON that a value of a column was made of."""
    if value is None:
        return None
    if kind.name == "json":
        return json.loads(value)
    if kind.name == "list":
        assert kind.element is not None
        return [_plain(one, kind.element) for one in value]
    if kind.name == "object":
        return {name: _plain(value[name], one) for name, one in kind.members if value[name] is not None}
    return value


# --- What a file says of its types ----------------------------------------------------------------


def metadata_of(types: Types) -> dict[bytes, bytes]:
    """Return the metadata of a file's schema: the types of its label columns, which Arrow's types do not tell fully."""
    described = {name: _described(kind) for name, kind in types.items()}
    return {_METADATA: json.dumps({"version": 1, "labels": described}, ensure_ascii=True).encode()}


def types_of(metadata: Mapping[bytes, bytes] | None) -> Types | None:
    """Return the types of the label columns, as a file's metadata says them; None if it does not."""
    try:
        said = json.loads((metadata or {})[_METADATA])
        if said["version"] != 1:
            return None
        return {name: _type_of_description(one) for name, one in said["labels"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _described(kind: LabelType) -> Any:
    if kind.name == "list":
        assert kind.element is not None
        return [_described(kind.element)]
    if kind.name == "object":
        return {name: _described(one) for name, one in kind.members}
    return kind.name


def _type_of_description(said: Any) -> LabelType:
    if isinstance(said, list):
        (element,) = said
        return LabelType("list", _type_of_description(element))
    if isinstance(said, dict):
        return object_of({name: _type_of_description(one) for name, one in said.items()})
    return _PLAIN[said]

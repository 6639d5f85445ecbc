"""Types of label values over many samples: what a column of a table can hold them as. Pure.

    null < bool                             only null: a text column that is empty
    null < int < long < json                int: up to 2**53, so that a float holds it; long: up to 2**63
    null < int < float < json
    null < str
    null < list of T, object of T1, T2, ... merged element by element and name by name
    json                                    all else: mixed types, larger integers; stored as JSON text

`merge` gives the smallest type that holds both: it does not matter in which order samples are seen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

MAX_MEMBERS = 100  # names of an object that become columns of their own; with more, it is a map: JSON text
_EXACT, _LONG = 1 << 53, 1 << 63


@dataclass(frozen=True, slots=True)
class LabelType:
    """A type.

    Attributes:
        name: "null", "bool", "int", "long", "float", "str", "list", "object" or "json".
        element: Of a list: the type of its elements.
        members: Of an object: (name, type), sorted.
    """

    name: str
    element: LabelType | None = None
    members: tuple[tuple[str, LabelType], ...] = ()

    @property
    def has_json(self) -> bool:
        """Whether some of it is stored as JSON text."""
        inner = (self.element, *(member for _, member in self.members))
        return self.name == "json" or any(one is not None and one.has_json for one in inner)


NULL, JSON = LabelType("null"), LabelType("json")
BOOL, INT, LONG, FLOAT, STR = map(LabelType, ("bool", "int", "long", "float", "str"))


def type_of(value: Any) -> LabelType:
    """Return the type of a value of JSON."""
    return _TYPE_OF.get(type(value), lambda _: JSON)(value)


def _type_of_integer(value: int) -> LabelType:
    if -_EXACT <= value <= _EXACT:
        return INT
    return LONG if -_LONG <= value < _LONG else JSON


def _type_of_list(values: list[Any]) -> LabelType:
    if set(map(type, values)) == {float}:  # coordinates: most of what labels hold
        return _FLOATS
    return LabelType("list", reduce(merge, map(type_of, values), NULL))


def _type_of_object(value: dict[str, Any]) -> LabelType:
    return object_of({name: type_of(one) for name, one in value.items()})


_FLOATS = LabelType("list", FLOAT)
_TYPE_OF: dict[type, Callable[[Any], LabelType]] = {
    type(None): lambda _: NULL,
    bool: lambda _: BOOL,
    int: _type_of_integer,
    float: lambda _: FLOAT,
    str: lambda value: STR if value.isascii() or _is_unicode(value) else JSON,
    list: _type_of_list,
    dict: _type_of_object,
}


def object_of(members: Mapping[str, LabelType]) -> LabelType:
    """Return the type of an object with these members; of one with too many, JSON."""
    if len(members) > MAX_MEMBERS:
        return JSON
    return LabelType("object", members=tuple(sorted(members.items())))


def merge(first: LabelType, second: LabelType) -> LabelType:
    """Return the smallest type that holds the values of both."""
    if second in (first, NULL):
        return first
    if first == NULL:
        return second
    if first.name == second.name == "list":
        assert first.element is not None
        assert second.element is not None
        return LabelType("list", merge(first.element, second.element))
    if first.name == second.name == "object":
        return object_of(merge_members(dict(first.members), dict(second.members)))
    numbers = {first.name, second.name}
    if numbers == {"int", "long"}:
        return LONG
    return FLOAT if numbers == {"int", "float"} else JSON


def merge_members(first: Mapping[str, LabelType], second: Mapping[str, LabelType]) -> dict[str, LabelType]:
    """Return the types of all names of both."""
    both = dict(first)
    for name, kind in second.items():
        both[name] = merge(both[name], kind) if name in both else kind
    return both


def storable(kind: LabelType) -> LabelType:
    """Return a type as columns have it: nothing but null is text, an object without members JSON."""
    if kind.name == "null":
        return STR
    if kind.name == "list":
        assert kind.element is not None
        return LabelType("list", storable(kind.element))
    if kind.name == "object":
        return object_of({name: storable(one) for name, one in kind.members}) if kind.members else JSON
    return kind


def converter_to(kind: LabelType, *, text: Callable[[Any], str | None] | None = None) -> Callable[[Any], Any] | None:
    """Return the function that makes values ready for a column of this type; None if they are as they are.

    Args:
        kind: The type.
        text: Makes the JSON text of a value. Default: `json_text`.
    """
    if kind.name == "json":
        return text or json_text
    if not kind.has_json:
        return None
    if kind.name == "list":
        assert kind.element is not None
        inside = converter_to(kind.element, text=text)
        assert inside is not None
        return lambda values: None if values is None else [inside(value) for value in values]
    members = {name: converter_to(one, text=text) for name, one in kind.members}
    return lambda value: (
        None
        if value is None
        else {name: convert(value.get(name)) if convert else value.get(name) for name, convert in members.items()}
    )


def json_text(value: Any) -> str | None:
    """Return a value as JSON text; None for null."""
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or _is_unicode(text) else json.dumps(value)


def plain_json_text(value: Any) -> str | None:
    """Return a value as one JSON text, also after it was in a typed column, which does not tell 1 from 1.0.

    Whole numbers up to 2**53 have no fraction, names are sorted, and names with null are left out.
    """
    return json_text(_plain(value))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in sorted(value.items()) if one is not None}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float) and value.is_integer() and -_EXACT <= value <= _EXACT:
        return int(value)
    return value


def _is_unicode(text: str) -> bool:
    """Return whether a text has no halves of characters, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

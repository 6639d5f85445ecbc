"""Complete labels by the class list of a dataset: the number of a class and its name stand together, and agree.

    {"class": "hat"}            -> {"label": 2, "class": "hat"}
    {"label": 2}                -> {"label": 2, "class": "hat"}      so is 2.0, which tables with gaps make of 2
    {"label": "hat"}            -> {"label": 2, "class": "hat"}      as packing reads a column of texts
    {"label": 2, "class": "cap"}   refused

So are the annotations in a label. Where neither a number nor a name of a class is given, nothing is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.json_labels import class_number
from shardpack.sources.label_rows import LabelRow, raise_problems
from shardpack.sources.source import Problems

_PAIR = ("label", "class")


def complete_labels(
    rows: Sequence[LabelRow], classes: Sequence[str] | None, *, new_classes: bool, name: str
) -> tuple[list[LabelRow], tuple[str, ...] | None]:
    """Return the labels with numbers and names of classes, and the class list that they need.

    Args:
        rows: The labels.
        classes: The class list of the dataset; None if it has none: then nothing is completed.
        new_classes: Whether classes that are not in the list are added at its end, sorted; otherwise they are refused.
        name: What the labels were read from, for errors.

    Raises:
        SourceError: A class is unknown, or a number and a name contradict each other.
    """
    if classes is None:
        return list(rows), None
    known = {name: number for number, name in enumerate(classes)}
    unknown: dict[str, str] = {}
    for row in rows:
        for class_name in _names(row.value):
            if class_name not in known:
                unknown.setdefault(class_name, row.where)
    problems = Problems()
    if unknown and not new_classes:
        for class_name, where in unknown.items():
            problems.reject(
                where, f"class {class_name!r} is not among the {len(known)} of the dataset (--new-classes would add it)"
            )
    raise_problems(problems, name)
    names = (*classes, *sorted(unknown))
    number_of = {name: number for number, name in enumerate(names)}
    completed = []
    for row in rows:
        try:
            completed.append(row._replace(value=_completed(row.value, names, number_of)))
        except SourceError as error:
            problems.reject(row.where, str(error))
    raise_problems(problems, name)
    return completed, names


def merged_label(old: Any, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return an old label in which the names of a new one have its values; top-level names, nothing deeper.

    Raises:
        SourceError: The old label is not an object, or a number or name of its class would stay beside another one's.
    """
    if not isinstance(old, dict):
        raise SourceError(f"the old label is {old!r:.60}, no object to update; give it anew, without update (--update)")
    given = [part for part in _PAIR if part in new]
    if len(given) == 1:
        (other,) = set(_PAIR).difference(given)
        if old.get(other) is not None:
            raise SourceError(f"gives {given[0]} alone, and the old label has {other} {old[other]!r:.60}; give both")
    return {**old, **new}


def _parts(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a label and its annotations, as far as they are objects."""
    if isinstance(value, Mapping):
        yield value
        yield from filter(_is_object, value.get("annotations") or () if _has_list(value) else ())


def _has_list(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("annotations"), list)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _names(value: Any) -> Iterable[str]:
    for part in _parts(value):
        for name in _PAIR:
            if isinstance(part.get(name), str):
                yield part[name]


def _completed(value: Any, names: Sequence[str], number_of: Mapping[str, int]) -> Any:
    if not isinstance(value, Mapping):
        return value
    result = _with_class(value, names, number_of)
    if _has_list(result):
        result["annotations"] = [
            _with_class(part, names, number_of) if _is_object(part) else part for part in result["annotations"]
        ]
    return result


def _with_class(value: Mapping[str, Any], names: Sequence[str], number_of: Mapping[str, int]) -> dict[str, Any]:
    label, name = value.get("label"), value.get("class")
    if isinstance(label, str) and name in (None, label):
        label, name = None, label
    if isinstance(name, str):
        number = number_of[name]
        if label is not None and class_number(label) != number:
            raise SourceError(f"label {label!r:.60} contradicts class {name!r}, which is number {number}")
    elif name is None and (given := class_number(label)) is not None:
        if not 0 <= given < len(names):
            raise SourceError(f"label is {given}, expected 0 to {len(names) - 1}: there are {len(names)} classes")
        number, name = given, names[given]
    else:
        return dict(value)
    result: dict[str, Any] = {}
    for key, part in value.items():
        if key in _PAIR:
            result.setdefault("label", number)
            result.setdefault("class", name)
        else:
            result[key] = part
    return result

"""What all values of one column say: whether they can be keys, and which classes they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from shardpack.errors import SourceError
from shardpack.format.naming import PLAIN_KEY, key_problem
from shardpack.sources.formats.mapping import RowMapping
from shardpack.sources.formats.row_values import key_text, plain_value

MOST_CLASSES = 65_536


def can_be_keys(parts: Iterable[tuple[str | None, Sequence[Any]]]) -> bool:
    """Return whether values can be keys: texts or integers, safe, and different within each split.

    Takes 8 bytes a value.

    Args:
        parts: (split, values) of the rows of a source, in parts.
    """
    seen: dict[str | None, list[np.ndarray[Any, np.dtype[np.uint64]]]] = {}
    for split, values in parts:
        keys = [key_text(value) for value in values]
        if any(key is None or not (PLAIN_KEY.fullmatch(key) or key_problem(key) is None) for key in keys):
            return False
        hashes = [xxh3_64_intdigest(key.lower().encode()) for key in keys if key is not None]
        seen.setdefault(split, []).append(np.array(hashes, np.uint64))
    return all(len(np.unique(np.concatenate(found))) == sum(map(len, found)) for found in seen.values())


def classes_in(parts: Iterable[Sequence[Any]], *, most: int = MOST_CLASSES) -> tuple[str, ...] | None:
    """Return the texts in a column, sorted; None if there are none, too many to be classes, or others among them.

    Where a row has no value, that is None or an empty list. A number beside the texts would be taken for one of theirs.
    """
    found: set[str] = set()
    for values in parts:
        for value in values:
            if isinstance(value, str):
                found.add(value)
            elif value is not None and value != []:
                return None
        if len(found) > most:
            return None
    return tuple(sorted(found)) or None


def with_text_classes(
    mapping: RowMapping, values_of: Callable[[str], Iterable[Any]], *, most: int = MOST_CLASSES
) -> RowMapping:
    """Return the mapping with the texts of its label column as classes, if it holds texts and no list names classes.

    Args:
        mapping: The roles of columns, chosen by a few rows.
        values_of: Yields the values of a column in all rows that can be read, None for what a row lacks. It is called
            only where the texts are needed, as it reads the source once.
        most: Classes at most; a column of more texts is left as it is.
    """
    label = mapping.label_column
    if label is None or not mapping.text_label or mapping.classes is not None or mapping.class_list is not None:
        return mapping
    parts = ([value] for value in _plain(values_of(label), unwrap=mapping.unwrap))
    return replace(mapping, classes=classes_in(parts, most=most))


def _plain(values: Iterable[Any], *, unwrap: bool) -> Iterator[Any]:
    """Yield values as JSON holds them; one that it cannot hold is a bad row when it is packed."""
    for value in values:
        try:
            yield plain_value(value, unwrap=unwrap)
        except SourceError:
            yield None

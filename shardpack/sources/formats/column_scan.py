"""What all values of one column say: whether they can be keys, and which classes they name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from xxhash import xxh3_64_intdigest

from shardpack.format.naming import PLAIN_KEY, key_problem
from shardpack.sources.formats.row_values import key_text

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
    """Return the texts among the values of a column, sorted; None if there are none, or too many to be classes."""
    found: set[str] = set()
    for values in parts:
        found.update(value for value in values if isinstance(value, str))
        if len(found) > most:
            return None
    return tuple(sorted(found)) or None

"""The dicts inside a value, whose keys decide whether it can be stored."""

from __future__ import annotations

from collections.abc import Collection, Iterator, KeysView
from typing import Any

# Values of these types are passed over at C speed: most of a label are numbers.
_PLAIN = frozenset((bool, bytes, float, int, str, type(None)))


def dict_keys(value: Any) -> Iterator[KeysView[Any]]:
    """Yield the keys of each dict that a value holds in dicts, lists and tuples; it must not contain itself."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            yield one.keys()
            inner: Collection[Any] = one.values()
        elif isinstance(one, (list, tuple)):
            inner = one
        else:
            continue
        if not _PLAIN.issuperset(map(type, inner)):
            left += [one for one in inner if type(one) not in _PLAIN]

"""Runs of numbered names as brace patterns: `shard-{000000..000127}.tar`, as shells and webdataset expand them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shardpack.errors import OptionError

_NUMBER = re.compile(r"([0-9]+)")
_SPECIAL = re.compile(r"[{},\\$]")


def collapse(names: Iterable[str]) -> list[str]:
    """Return patterns that expand to these names, in this order: one for each run that counts up in one place.

    Raises:
        OptionError: A name has a character that brace patterns give a meaning.
    """
    patterns: list[str] = []
    first: list[str] = []  # parts of the first and the last name of the run; every other part is digits
    last: list[str] = []
    place = -1  # which part of the run counts; -1 while it has one name
    for name in names:
        if _SPECIAL.search(name):
            raise OptionError(
                f"a list of shards cannot hold the name {name!r}; rename the tar without braces or commas"
            )
        parts = _NUMBER.split(name)
        where = _next_in(last, parts)
        if where > 0 and place in (-1, where):
            place, last = where, parts
            continue
        patterns += _pattern(first, last, place)
        first, last, place = parts, parts, -1
    return patterns + _pattern(first, last, place)


def _next_in(last: list[str], parts: list[str]) -> int:
    """Return the only part that differs, if it counts up by one in as many digits; otherwise -1."""
    if len(last) != len(parts):
        return -1
    differing = [i for i, (one, other) in enumerate(zip(last, parts, strict=True)) if one != other]
    if len(differing) != 1 or differing[0] % 2 == 0:
        return -1
    one, other = last[differing[0]], parts[differing[0]]
    return differing[0] if len(one) == len(other) and int(other) == int(one) + 1 else -1


def _pattern(first: list[str], last: list[str], place: int) -> list[str]:
    if not first:
        return []
    if place < 0:
        return ["".join(first)]
    return ["".join([*first[:place], f"{{{first[place]}..{last[place]}}}", *first[place + 1 :]])]

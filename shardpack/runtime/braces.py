"""Braces as shells and webdataset expand them: `{a,b}-{08..10}.tar` is six names, whether or not such files exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, pairwise

from shardpack.errors import OptionError

MAX_NAMES = 1_000_000
_RANGE = re.compile(r"(?:(-?\d+)\.\.(-?\d+)|([A-Za-z])\.\.([A-Za-z]))(?:\.\.(-?\d+))?", re.ASCII)


def expand_braces(pattern: str) -> list[str]:
    """Return the names that a pattern's braces stand for; the last braces change fastest.

    Does not check whether such files exist. Braces that are not a list, such as `{x}`, stay as they are.

    Raises:
        OptionError: The braces stand for more than a million names, most likely by mistake.

    Example:
        >>> expand_braces("{a,b}-{08..10}.tar")
        ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    names = list(islice(_expanded(pattern), MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise OptionError(f"{pattern!r} stands for more than {MAX_NAMES:,} names; check its braces")
    return names


def _expanded(text: str) -> Iterator[str]:
    begin = text.find("{")
    while begin >= 0:
        commas, end = _find_commas_and_end(text, begin)
        if end < 0:
            begin = text.find("{", begin + 1)
            continue
        choices = _choices(text, begin, commas, end)
        for choice in choices:
            for tail in _expanded(text[end + 1 :]):
                yield text[:begin] + choice + tail
        return
    yield text


def _find_commas_and_end(text: str, begin: int) -> tuple[list[int], int]:
    """Return the offsets of the commas and of the closing brace that belong to the brace at `begin`.

    The second is -1 if the brace is not closed.
    """
    depth = 0
    commas: list[int] = []
    for at in range(begin, len(text)):
        letter = text[at]
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if not depth:
                return commas, at
        elif letter == "," and depth == 1:
            commas.append(at)
    return [], -1


def _choices(text: str, begin: int, commas: list[int], end: int) -> Iterator[str]:
    if commas:
        bounds = [begin, *commas, end]
        for left, right in pairwise(bounds):
            yield from _expanded(text[left + 1 : right])
        return
    inside = text[begin + 1 : end]
    if range_match := _RANGE.fullmatch(inside):
        yield from _range(range_match)
    else:
        for name in _expanded(inside):
            yield "{" + name + "}"


def _range(match: re.Match[str]) -> Iterator[str]:
    first, last, first_letter, last_letter, step = match.groups()
    stride = abs(int(step)) if step and int(step) else 1
    if first_letter:
        for code in _steps(ord(first_letter), ord(last_letter), stride):
            yield chr(code)
        return
    padded = any(number.lstrip("-").startswith("0") and len(number.lstrip("-")) > 1 for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    for number in _steps(int(first), int(last), stride):
        yield f"{number:0{width}d}"


def _steps(first: int, last: int, stride: int) -> range:
    return range(first, last + 1, stride) if first <= last else range(first, last - 1, -stride)

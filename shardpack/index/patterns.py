"""Shell patterns, without any I/O: braces that list names, and wildcards that names are compared with.

    expand_braces("{a,b}-{08..10}.tar")     six names, whether or not such files exist
    Glob("train/**/*.tar").matches(name)    compares an existing name; `*` and `?` stop at slashes, `**/` does not

As in shells, wildcards do not match a dot at the start of a component, so hidden files must be named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice, pairwise

from shardpack.errors import OptionError

MAX_NAMES = 1_000_000
_RANGE = re.compile(r"(?:(-?\d+)\.\.(-?\d+)|([A-Za-z])\.\.([A-Za-z]))(?:\.\.(-?\d+))?", re.ASCII)
_WILDCARD = re.compile(r"[*?\[]")
_ANY_FOLDERS = "**"


class Glob:
    """A pattern with the wildcards `*`, `?`, `[...]` and `**/`.

    Attributes:
        folder: The folders before the first wildcard; all matches are below it.
    """

    def __init__(self, pattern: str) -> None:
        parts = pattern.split("/")
        plain = next((i for i, part in enumerate(parts) if has_wildcards(part)), len(parts) - 1)
        self.folder = "/".join(parts[:plain]) or ("/" if pattern.startswith("/") else "")
        self._folders, self._last = parts[plain:-1], parts[-1]
        self._names_hidden = any(part.startswith(".") for part in self._folders)

    def matches(self, name: str) -> bool:
        """Return whether a name, relative to `folder`, matches the pattern."""
        *folders, last = name.split("/")
        return _matches(self._last, last) and _match_folders(self._folders, folders)

    def may_hold(self, folder: str) -> bool:
        """Return whether names in a subfolder, given relative to `folder`, can match."""
        for depth, name in enumerate(folder.split("/")):
            if depth >= len(self._folders):
                return False
            if self._folders[depth] == _ANY_FOLDERS:
                return self._names_hidden or not (folder.startswith(".") or "/." in folder)
            if not _matches(self._folders[depth], name):
                return False
        return True


def has_wildcards(text: str) -> bool:
    """Return whether a text contains a wildcard."""
    return _WILDCARD.search(text) is not None


def _matches(part: str, name: str) -> bool:
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def _match_folders(parts: list[str], folders: list[str]) -> bool:
    if not parts:
        return not folders
    first, *rest = parts
    if first == _ANY_FOLDERS and _match_folders(rest, folders):
        return True
    return (
        bool(folders)
        and _matches(first, folders[0])
        and _match_folders(parts if first == _ANY_FOLDERS else rest, folders[1:])
    )


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

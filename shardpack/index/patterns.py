"""Shell wildcards, without any I/O: names are compared with them; `*` and `?` stop at slashes, `**/` does not.

As in shells, wildcards do not match a dot at the start of a component, so hidden files must be named.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

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

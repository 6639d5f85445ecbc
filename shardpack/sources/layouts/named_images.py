"""Find the image that a table names in its own way: by path, base name or stem.

    images/cat/0001.jpg    named "images/cat/0001.jpg", "cat/0001.jpg", "/me/images/cat/0001.jpg", "0001.jpg" or "0001"

A name with folders must agree with those of the image as far as both go. A name that fits several images names none.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.sources.name_index import NameIndex
from shardpack.sources.splits import SPLIT_NAMES

_PLAIN = re.compile(r"[^/\\.]+(?:\.[^/\\.]+)?")  # a name that normalising would not change
BY_STEM, BY_BASE, BY_PATH = range(3)  # how much of a path a name says


class Match(NamedTuple):
    """The image that was named, or several that may be meant.

    Attributes:
        how: BY_PATH, BY_BASE or BY_STEM.
        paths: The images, ascending; one if the name is clear.
    """

    how: int
    paths: list[str]


class NamedImages:
    """The images of a tree, by the names that tables may give them. Costs 0.5 us and 16 bytes an image."""

    def __init__(self, names: Iterable[str]) -> None:
        self._paths = [name for name in names if name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS]

    @cached_property
    def _by_path(self) -> NameIndex:
        return NameIndex(self._paths)

    @cached_property
    def _by_base(self) -> NameIndex:
        return NameIndex(self._paths, _base)

    @cached_property
    def _by_stem(self) -> NameIndex:
        return NameIndex(self._paths, _stem)

    def forget(self) -> None:
        """Let go of what look-ups have made, 8 bytes an image each; the next one makes it again."""
        for made in ("_by_path", "_by_base", "_by_stem"):
            self.__dict__.pop(made, None)

    def find(self, name: object, *, folder: str = "", split: str | None = None) -> Match | None:
        """Return what a cell of a table names, or None.

        Args:
            name: The cell: a text, or a whole number that is a stem.
            folder: Folder of the table, which paths may be relative to.
            split: Split of the table; of several images that fit, those in its folder are meant.
        """
        if not isinstance(name, (str, int)) or isinstance(name, bool) or name == "":
            return None
        text = str(name).strip()
        if not _PLAIN.fullmatch(text):
            text = posixpath.normpath(text.replace("\\", "/"))
        for path in (posixpath.normpath(f"{folder}/{text}"), text) if folder else (text,):
            if path in self._by_path:
                return Match(BY_PATH, [path])
        last = text.rpartition("/")[2]
        by_base = [path for path in self._found(self._by_base, last) if _agree(text, path)]
        if by_base:
            return Match(BY_PATH if "/" in text else BY_BASE, _of_split(by_base, split))
        by_stem = [path for path in self._found(self._by_stem, last) if _agree(text, path.rpartition(".")[0])]
        return Match(BY_STEM, _of_split(by_stem, split)) if by_stem else None

    def _found(self, index: NameIndex, text: str) -> Iterator[str]:
        return (self._paths[number] for number in index.find(text))


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    return _base(path).rpartition(".")[0]


def _agree(name: str, path: str) -> bool:
    """Return whether two paths are the same as far as both go, from their ends."""
    longer, shorter = (name, path) if len(name) > len(path) else (path, name)
    return longer == shorter or longer.endswith(f"/{shorter}")


def _of_split(paths: list[str], split: str | None) -> list[str]:
    """Return the paths with a folder of this split, if there are such; ascending."""
    if split is not None and len(paths) > 1:
        meant = SPLIT_NAMES[split.lower()]
        inside = [path for path in paths if meant in (SPLIT_NAMES.get(part.lower()) for part in path.split("/")[:-1])]
        paths = inside or paths
    return sorted(paths)

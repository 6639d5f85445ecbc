"""The files of a folder or an archive, before anything is known of what they mean.

A layout works with names alone, and reads label files through `Tree.read`; it never opens a file itself. So a zip
archive, whose files are ranges of it, is read by the same layouts as a folder.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import SourceError
from shardpack.sources.listing import Listing
from shardpack.sources.scan import Files

MAX_LABEL_BYTES = 4 << 30  # of one file with labels: Open Images' largest table has 2.2 GB


class Contents(Protocol):
    """Where the bytes of a tree's files are."""

    def read(self, name: str, *, max_bytes: int, first: int | None = None) -> bytes:
        """Return all bytes of a file, or the first ones.

        Raises:
            SourceError: It cannot be read, or has more than `max_bytes`; nothing of it was read or inflated then.
        """
        ...

    def locate(self, listing: Listing) -> Listing:
        """Return the listing with the payloads that are names of files replaced by where these are.

        That is: paths below the root, or references into stores; then with `stores` and `version`, too.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderContents:
    """The files of a folder on disk."""

    root: str

    def read(self, name: str, *, max_bytes: int, first: int | None = None) -> bytes:
        """Return bytes of a file; see `Contents.read`."""
        return _read(os.path.join(self.root, name), name, max_bytes, first)

    def locate(self, listing: Listing) -> Listing:
        """Return the listing as it is: names are paths below the root."""
        return listing


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one folder of a tree, without those of the folders in it.

    Attributes:
        path: Path of the folder, "" for the root.
        first, stop: Its files are `tree.files.names[first:stop]`, ascending by name.
        extensions: Text after the last dot of a file's name, in lower case ("" without a dot) -> number of files.
    """

    path: str
    first: int
    stop: int
    extensions: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_images(self) -> int:
        """How many files have the extension of an image."""
        return sum(count for extension, count in self.extensions.items() if extension in IMAGE_EXTENSIONS)


class Tree:
    """The files of a folder or an archive.

    Attributes:
        files: Names, lengths and times. The files of each folder are consecutive and ascending by name.
        contents: Where their bytes are.
    """

    def __init__(self, files: Files, contents: Contents | None = None) -> None:
        self.files = files
        self.contents = FolderContents(files.root) if contents is None else contents

    def read(self, name: str, *, max_bytes: int = MAX_LABEL_BYTES, first: int | None = None) -> bytes:
        """Return all bytes of a file, such as a table of labels, or the first ones; see `Contents.read`."""
        return self.contents.read(name, max_bytes=max_bytes, first=first)

    def read_given(self, path: str | os.PathLike[str], *, max_bytes: int = MAX_LABEL_BYTES) -> tuple[str | None, bytes]:
        """Return a file that the user named by its path: (its name in this tree, or None outside; its bytes).

        The path is relative to the working directory, or else to the root.

        Raises:
            SourceError: It is in neither place, cannot be read, or has more than `max_bytes`.
        """
        given = os.fspath(path)
        if not os.path.isfile(given) and self.has(given.replace(os.sep, "/")):
            name = given.replace(os.sep, "/")
            return name, self.read(name, max_bytes=max_bytes)
        try:
            relative = os.path.relpath(given, self.files.root).replace(os.sep, "/")
        except ValueError:  # on another drive
            relative = ""
        return relative if self.has(relative) else None, _read(given, given, max_bytes)

    def without(self, names: Collection[str]) -> Tree:
        """Return the tree without the named files."""
        return Tree(self.files.without(names), self.contents) if names else self

    def number(self, name: str) -> int | None:
        """Return the number of a file in `files`, or None. Takes no memory for each file, as a set of names would."""
        folder = self.folders.get(name[: max(name.rfind("/"), 0)])
        if folder is None:
            return None
        number = bisect_left(self.files.names, name, folder.first, folder.stop)
        return number if number < folder.stop and self.files.names[number] == name else None

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self.number(name) is not None

    @cached_property
    def folders(self) -> dict[str, Folder]:
        """The folders that have files of their own, by path, in the order of the files. Costs 0.3 us a file."""
        return {folder.path: folder for folder in _folders(self.files.names)}


def _folders(names: list[str]) -> Iterator[Folder]:
    path, prefix, first = "", "", 0
    extensions: dict[str, int] = {}
    for i, name in enumerate(names):
        slash = name.rfind("/") + 1
        if name[:slash] != prefix:
            if i > first:
                yield Folder(path, first, i, _lower(extensions))
            prefix, path, first, extensions = name[:slash], name[: max(slash - 1, 0)], i, {}
        dot = name.rfind(".", slash) + 1
        extension = name[dot:] if dot else ""
        extensions[extension] = extensions.get(extension, 0) + 1
    if len(names) > first:
        yield Folder(path, first, len(names), _lower(extensions))


def _lower(extensions: Mapping[str, int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for extension, count in extensions.items():
        counts[extension.lower()] = counts.get(extension.lower(), 0) + count
    return counts


def _read(path: str, name: str, max_bytes: int, first: int | None = None) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > max_bytes:
                raise SourceError(f"{name} has {size:,} bytes, expected at most {max_bytes:,}; split it")
            return file.read(first)
    except OSError as error:
        raise SourceError(f"cannot read {name!r}: {error.strerror}; make it readable, or name another") from error

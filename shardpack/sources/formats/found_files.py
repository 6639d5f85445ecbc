"""The files at a path or URL that may be of a foreign format: their names, and their bytes by ranges."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from xxhash import xxh3_128

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import OptionError, SourceError
from shardpack.runtime.threads import ordered_map
from shardpack.sources.layouts.leftovers import ask_about_unread, matching_names
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Store
from shardpack.storage.url import local_path

MAX_NAMES = 1_000_000
_SHOWN = 3
_STAMPED_AT_ONCE = 32  # requests
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files below one root. Pickles, without open files.

    Attributes:
        location: The path or URL that was named; for messages.
        store: Reads the files.
        names: Names in the store, in natural order (2 before 10). Empty for a folder of images, which has a layout.
        is_file: Whether a single file was named.
        ask: Whether files that may hold labels, and are not read, are a question.
    """

    location: str
    store: Store
    names: tuple[str, ...]
    is_file: bool
    ask: bool = True

    def matching(self, *patterns: str) -> list[str]:
        """Return the names whose last component, in lower case, matches one of the patterns."""
        bases = ((name, name.rpartition("/")[2].lower()) for name in self.names)
        return [name for name, base in bases if any(fnmatchcase(base, pattern) for pattern in patterns)]

    def size(self, name: str) -> int:
        """Return the length of a file."""
        return self.store.size(name)

    def head(self, name: str, length: int = 64) -> bytes:
        """Return the first bytes of a file, or all of a shorter one."""
        return bytes(self.store.get_range(name, start=0, length=min(length, self.size(name))))

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return a small file, such as one that names classes.

        Raises:
            SourceError: It is longer than `max_bytes`; nothing was read.
        """
        size = self.size(name)
        if size > max_bytes:
            raise SourceError(f"{size} bytes, expected at most {max_bytes} in a file of its kind", path=name)
        return bytes(self.store.get_range(name, start=0, length=size))

    def local(self, name: str) -> str:
        """Return the local path of a file, for a library that opens files itself.

        Raises:
            OptionError: The files are not on this machine.
        """
        if self.store.folder is None:
            raise OptionError(f"{self.location!r} can only be read from a local disk; copy it there first")
        return os.path.join(self.store.folder, name)

    def version_of(self, names: Iterable[str], *, more: str = "") -> str:
        """Return a digest that changes with the names, sizes and times of files, and with another text."""
        hashed = xxh3_128(more.encode())
        depth = _STAMPED_AT_ONCE if self.store.folder is None else 0
        with closing(ordered_map(names, self._stamped, depth=depth, purpose="version")) as stamped:
            for text in stamped:
                hashed.update(text.encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()

    def _stamped(self, name: str) -> str:
        try:
            if self.store.folder is None:
                version = self.store.version(name)
                return f"\0{name}\0{version.size} {version.etag}"
            status = os.stat(os.path.join(self.store.folder, name))
        except FileNotFoundError:  # ours, too; an error when it is read
            return f"\0{name}\0missing"
        return f"\0{name}\0{status.st_size} {status.st_mtime_ns}"

    def ignoring(self, patterns: Sequence[str]) -> FoundFiles:
        """Return the files but for those that match a pattern, as `ignore_files` compares them.

        Raises:
            OptionError: A pattern is empty, or a single file was named.
        """
        if patterns and self.is_file:
            raise OptionError(f"ignore is for the files of a folder, and {self.location!r} is one file; leave it out")
        ignored = {name for pattern in patterns for name in matching_names(self.names, pattern)}
        return replace(self, names=tuple(name for name in self.names if name not in ignored)) if ignored else self

    def others(self, used: Iterable[str]) -> str:
        """Return what a sentence says of the files that are not read: "; 2 other files are not read: a.html, b.log".

        Raises:
            SourceError: Some of them may hold labels: what to do with these is a question.
        """
        used = set(used)
        rest = sorted(set(self.names) - used)
        if not rest:
            return ""
        if self.ask:
            ask_about_unread(rest, kept=used)
        shown = ", ".join(rest[:_SHOWN]) + (", ..." if len(rest) > _SHOWN else "")
        return f"; {len(rest)} other file{'s are' if len(rest) > 1 else ' is'} not read: {shown}"


def find_files(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> FoundFiles:
    """Return the files at a path: one file, or all in a folder.

    Raises:
        SourceError: There is nothing at the path.
        OptionError: The URL or an option is invalid.
    """
    location = os.fspath(path)
    folder = local_path(location)
    if folder is None:
        return _remote(location, storage_options)
    if storage_options:
        open_store(location, storage_options)  # refuses options for a folder
    if os.path.isfile(folder):
        store = open_store(os.path.dirname(folder) or ".")
        return FoundFiles(location, store, (os.path.basename(folder),), is_file=True)
    if not os.path.isdir(folder):
        raise SourceError(f"nothing is at {location!r}; check the path")
    return FoundFiles(location, open_store(folder), tuple(_walk(folder)), is_file=False)


def _remote(url: str, options: Mapping[str, Any] | None) -> FoundFiles:
    parent, _, last = url.rstrip("/").rpartition("/")
    if "." in last and not url.endswith("/") and not parent.endswith(":/"):
        return FoundFiles(url, open_store(parent, options), (last,), is_file=True)
    store = open_store(url, options)
    return FoundFiles(url, store, tuple(_without_images(store.names())), is_file=False)


def _walk(folder: str) -> list[str]:
    found: list[str] = []
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if any(_is_image(name) for name in files):
            return []
        below = os.path.relpath(at, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        found += [prefix + name for name in files if not name.startswith(".")]
        if len(found) > MAX_NAMES:
            return []
    return sorted(found, key=natural_order)


def _without_images(names: Sequence[str]) -> list[str]:
    visible = [name for name in names if not name.startswith(".") and "/." not in name]
    return [] if any(map(_is_image, visible)) else sorted(visible, key=natural_order)


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_EXTENSIONS


def natural_order(name: str) -> tuple[tuple[str, int], ...]:
    """Return the key by which names are sorted: runs of digits count as numbers."""
    parts = _NUMBERS.split(name)
    # Text and number alternate, so that equal places always compare alike.
    return tuple((text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "0"], strict=True))

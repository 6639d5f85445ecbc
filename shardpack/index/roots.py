"""The places to search for tars: the local disk, a bucket or server, or a store passed by the caller.

A `Root` has the same four methods for each of them, so `find.py` searches all in one way. Paths have slashes;
those on the disk are absolute.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast
from urllib.parse import quote, unquote

from shardpack.errors import OptionError, ShardNotFoundError, StorageError
from shardpack.index.patterns import Glob
from shardpack.storage.connection import connect_to
from shardpack.storage.local import LocalStore
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.url import WEB_SCHEMES

PathKind = Literal["file", "folder", "special", "missing", "unknown"]  # special: a FIFO, socket or device


class Root(Protocol):
    """A disk, bucket or store that paths start from; all tars of a dataset are below equal roots."""

    def kind(self, path: str) -> PathKind:
        """Return what is at a path; "unknown" where that would cost a request.

        Raises:
            StorageError: The disk refuses to say.
        """
        ...

    def names(self, folder: str, glob: Glob | None = None) -> Iterable[str]:
        """Return names of files relative to a folder.

        Args:
            folder: The folder.
            glob: Pattern to list subfolders for, as far as it may match in them; the caller still has to
                compare the names with it. None lists only the files directly in the folder.

        Raises:
            ShardNotFoundError: The folder does not exist, where that can be known.
            StorageError: The folder cannot be listed.
            OptionError: This root cannot list names.
        """
        ...

    def store(self, folder: str) -> tuple[WritableStore, str]:
        """Return a store for what is below a folder, and the folder that the store's names are relative to."""
        ...

    def shown(self, path: str) -> str:
        """Return a path for messages, without secrets."""
        ...


@dataclass(frozen=True, slots=True)
class DiskRoot:
    """The local disk."""

    def kind(self, path: str) -> PathKind:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            raise StorageError(f"cannot read the status of {path!r}: {error.strerror}; check permissions") from error
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else "special"

    def names(self, folder: str, glob: Glob | None = None) -> list[str]:
        try:
            return list(_files(folder, "", glob, ()))
        except OSError as error:
            raise StorageError(f"cannot list {folder!r}: {error.strerror}; check its permissions") from error

    def store(self, folder: str) -> tuple[WritableStore, str]:
        return LocalStore(folder), folder

    def shown(self, path: str) -> str:
        return path


@dataclass(frozen=True, slots=True)
class UrlRoot:
    """A bucket or server: all URLs with the same scheme, host and query."""

    host: str
    query: str = ""
    options: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def _is_web(self) -> bool:
        return self.host.partition("://")[0] in WEB_SCHEMES

    def kind(self, path: str) -> PathKind:  # noqa: ARG002 - asking would cost a request
        return "unknown"

    def names(self, folder: str, glob: Glob | None = None) -> list[str]:
        if self._is_web:
            raise OptionError(
                f"a web server does not list its files, so {self.shown(folder)!r} cannot be searched for tars; "
                "name each tar, or use braces as in https://host/train-{000000..000127}.tar"
            )
        names = open_store(self._url(folder), self.options).names()
        return names if glob is not None else [name for name in names if "/" not in name]

    def store(self, folder: str) -> tuple[WritableStore, str]:
        return open_store(self._url(folder), self.options), folder

    def shown(self, path: str) -> str:
        return connect_to(self._url(path)).location  # without user and query

    def _url(self, path: str) -> str:
        path = path.strip("/")
        if self._is_web:
            path = quote(path, safe="/~:@!$&'()*+,;=")
        return f"{self.host}/{path}".rstrip("/") + (f"?{self.query}" if self.query else "")


def split_url(url: str, options: Mapping[str, Any] | None) -> tuple[UrlRoot, str]:
    """Return the root of a URL and the path below it; percent-encoding is undone where the scheme has it."""
    scheme, _, rest = url.partition("://")
    query = ""
    if scheme in WEB_SCHEMES:  # in other schemes "?" and "#" may be part of a name or a pattern
        rest, _, query = rest.partition("#")[0].partition("?")
    host, _, path = rest.partition("/")
    return UrlRoot(f"{scheme}://{host}", query, options), unquote(path) if scheme in WEB_SCHEMES else path


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A store passed by the caller; its names are the paths."""

    given: Store

    def kind(self, path: str) -> PathKind:  # noqa: ARG002 - asking would cost a request
        return "unknown"

    def names(self, folder: str, glob: Glob | None = None) -> list[str]:
        list_names = getattr(self.given, "names", None)
        if not callable(list_names):
            raise OptionError(f"{self.given.location!r} does not list its names; pass (store, names of the tars)")
        prefix = f"{folder}/" if folder else ""
        names = [name[len(prefix) :] for name in list_names() if name.startswith(prefix)]
        if folder and not names:
            raise ShardNotFoundError(f"no tar found at {self.shown(folder)!r}; check the name")
        return names if glob is not None else [name for name in names if "/" not in name]

    def store(self, folder: str) -> tuple[WritableStore, str]:  # noqa: ARG002 - names start at the top of the store
        return cast("WritableStore", self.given), ""  # `place_for_indexes` checks whether it can be written to

    def shown(self, path: str) -> str:
        return f"{self.given.location}/{path}".strip("/") if path else self.given.location


def _files(folder: str, below: str, glob: Glob | None, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield names of files; follow links to folders, as shells do, but not to a folder that contains the link."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if not entry.is_dir():
                yield name
            elif glob is not None and glob.may_hold(name):
                status = entry.stat()
                identity = (status.st_dev, status.st_ino)
                if identity not in parents:
                    with suppress(PermissionError):  # shells skip folders that they may not list
                        yield from _files(entry.path, f"{name}/", glob, (*parents, identity))

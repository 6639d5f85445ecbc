"""Where tars may lie: this machine's disk, a bucket or server, or a store that the caller has.

A `Root` answers the same four questions for each of them, so that `find.py` knows one way to look for tars.
Paths below a root have slashes; those of the disk are absolute.
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
from shardpack.storage.adapter import adapt
from shardpack.storage.connection import connect_to
from shardpack.storage.local import LocalStore
from shardpack.storage.open import open_store
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES

Kind = Literal["file", "folder", "special", "missing", "unknown"]  # special: a FIFO, socket or device


class Root(Protocol):
    """Where paths begin. Equal roots are one folder or bucket; tars of one dataset lie below one."""

    def kind(self, path: str) -> Kind:
        """Return what is at a path; "unknown" where asking would cost a request."""
        ...

    def names(self, folder: str, glob: Glob | None = None) -> Iterable[str]:
        """Return names of files below a folder, relative to it: those in it, or those that a pattern may match.

        Raises:
            ShardNotFoundError: There is no such folder, where that can be known.
            OptionError: There is no list of names here.
        """
        ...

    def store(self, folder: str) -> tuple[WritableStore, str]:
        """Return a store that holds what lies below a folder, and the folder that its names begin at."""
        ...

    def shown(self, path: str) -> str:
        """Return a path for people, without secrets."""
        ...


@dataclass(frozen=True, slots=True)
class DiskRoot:
    """The disk of this machine."""

    def kind(self, path: str) -> Kind:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            return "missing"
        except OSError as error:
            raise StorageError(f"cannot look at {path!r}: {error.strerror}; check its permissions") from error
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
    """A bucket or server: all URLs that begin alike up to their host, with the same query."""

    host: str
    query: str = ""
    options: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def _is_web(self) -> bool:
        return self.host.partition("://")[0] in WEB_SCHEMES

    def kind(self, path: str) -> Kind:  # noqa: ARG002 - asking would cost a request
        return "unknown"

    def names(self, folder: str, glob: Glob | None = None) -> list[str]:
        if self._is_web:
            raise OptionError(
                f"a web server has no list of its files, and {self.shown(folder)!r} cannot be searched for tars; "
                "name each, or all as in https://host/train-{000000..000127}.tar"
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
    """Return the root of a URL and the path below it, decoded where URLs of its kind are encoded."""
    scheme, _, rest = url.partition("://")
    query = ""
    if scheme in WEB_SCHEMES:  # elsewhere "?" and "#" may be part of a name, or of a pattern
        rest, _, query = rest.partition("#")[0].partition("?")
    host, _, path = rest.partition("/")
    return UrlRoot(f"{scheme}://{host}", query, options), unquote(path) if scheme in WEB_SCHEMES else path


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """A store that the caller has: its names are the paths."""

    given: Any

    def kind(self, path: str) -> Kind:  # noqa: ARG002 - asking would cost a request
        return "unknown"

    def names(self, folder: str, glob: Glob | None = None) -> list[str]:
        list_names = getattr(self.given, "names", None)
        if not callable(list_names):
            raise OptionError(f"{self.given!r} has no list of its names; pass (store, names of the tars)")
        prefix = f"{folder}/" if folder else ""
        names = [name[len(prefix) :] for name in list_names() if name.startswith(prefix)]
        if folder and not names:
            raise ShardNotFoundError(f"no tar found at {self.shown(folder)!r}; check the name")
        return names if glob is not None else [name for name in names if "/" not in name]

    def store(self, folder: str) -> tuple[WritableStore, str]:  # noqa: ARG002 - the store has no other beginning
        return cast("WritableStore", adapt(self.given)), ""  # whether it can be written to, only writing asks

    def shown(self, path: str) -> str:
        return f"{getattr(self.given, 'location', '')}/{path}".strip("/") if path else repr(self.given)


def _files(folder: str, below: str, glob: Glob | None, parents: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield names of files; follows links to folders, as shells do, but not to one that they lie in."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = below + entry.name
            if not entry.is_dir():
                yield name
            elif glob is not None and glob.may_hold(name):
                status = entry.stat()
                identity = (status.st_dev, status.st_ino)
                if identity not in parents:
                    with suppress(PermissionError):  # shells pass over what they may not list
                        yield from _files(entry.path, f"{name}/", glob, (*parents, identity))

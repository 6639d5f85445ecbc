"""Which tars URLs name: one each, a folder's, a pattern's; to names below one folder of one server or bucket."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from shardpack.errors import OptionError, ShardNotFoundError
from shardpack.index.braces import expand_braces
from shardpack.storage.open import open_store
from shardpack.storage.protocols import ObjectStore
from shardpack.storage.url import WEB_SCHEMES, connection_to

COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz", ".tar.lz4")
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class _Place:
    """A URL in parts: `root` up to the host, `path` behind it, decoded, and the query of a web server."""

    root: str
    path: str
    query: str

    @classmethod
    def of(cls, url: str) -> _Place:
        scheme, _, rest = url.partition("://")
        query = ""
        if scheme in WEB_SCHEMES:  # elsewhere "?" and "#" may be part of a name, or of a pattern
            rest, _, query = rest.partition("#")[0].partition("?")
        host, _, path = rest.partition("/")
        return cls(f"{scheme}://{host}", unquote(path) if scheme in WEB_SCHEMES else path, query)

    @property
    def is_web(self) -> bool:
        return self.root.partition("://")[0] in WEB_SCHEMES

    def url(self, path: str) -> str:
        """Return the URL of another path there."""
        path = path.strip("/")
        if self.is_web:
            path = quote(path, safe="/~:@!$&'()*+,;=")
        return f"{self.root}/{path}".rstrip("/") + (f"?{self.query}" if self.query else "")

    def __str__(self) -> str:
        return connection_to(self.url(self.path)).location  # without user and query


def find_urls(urls: Sequence[str], options: Mapping[str, Any] | None) -> tuple[ObjectStore, tuple[str, ...]]:
    """Return the store of the folder that holds all of these tars, and their names in it.

    Costs a listing for each pattern or folder, and nothing for names.

    Raises:
        ShardNotFoundError, OptionError: See `find_tars`.
    """
    found = [tar for url in urls for one in expand_braces(url) for tar in _tars_at(_Place.of(one), options)]
    first = found[0]
    if any((place.root, place.query) != (first.root, first.query) for place in found):
        raise OptionError(
            "the tars are on different servers or in different buckets, or their URLs have queries of their own; "
            "one dataset lies below one URL"
        )
    folder = posixpath.commonpath([posixpath.dirname(place.path) for place in found])
    names = tuple(posixpath.relpath(place.path, folder or ".") for place in found)
    return open_store(first.url(folder), options), names


def _tars_at(place: _Place, options: Mapping[str, Any] | None) -> Iterator[_Place]:
    if place.is_web:
        yield _named(place)
    elif _WILD.search(place.path):
        yield from _matching(place, options)
    elif place.path.endswith(".tar"):
        yield place
    else:
        yield from _in_folder(place, options)


def _named(place: _Place) -> _Place:
    """Return the place of one tar on a web server, which has no list of its files."""
    name = posixpath.basename(place.path)
    if "*" in name or not name.endswith(".tar"):
        raise OptionError(
            f"a web server has no list of its files, so {str(place)!r} stands for no tars; "
            "name each, or all as in https://host/train-{000000..000127}.tar"
        )
    return place


def _matching(place: _Place, options: Mapping[str, Any] | None) -> list[_Place]:
    wild = _WILD.search(place.path)
    assert wild is not None
    folder = posixpath.dirname(place.path[: wild.start()])
    pattern = re.compile(_translate(place.path[len(folder) :].lstrip("/")))
    names = open_store(place.url(folder), options).names()
    found = [_Place(place.root, posixpath.join(folder, name), "") for name in names if pattern.fullmatch(name)]
    if not found:
        raise ShardNotFoundError(f"no tar found at {str(place)!r}; check the pattern")
    return found


def _in_folder(place: _Place, options: Mapping[str, Any] | None) -> list[_Place]:
    if place.path.endswith(COMPRESSED):
        raise ShardNotFoundError(f"{str(place)!r} is compressed, which cannot be sought; unpack it to a plain tar")
    names = [name for name in open_store(place.url(place.path), options).names() if "/" not in name]
    found = [_Place(place.root, posixpath.join(place.path, name), "") for name in names if name.endswith(".tar")]
    if not found:
        compressed = sum(name.endswith(COMPRESSED) for name in names)
        raise ShardNotFoundError(
            f"{compressed} tar(s) at {str(place)!r} are compressed, which cannot be sought; unpack them to plain tars"
            if compressed
            else f"no .tar object at {str(place)!r}; for folders below it, give a pattern: {f'{place}/**/*.tar'!r}"
        )
    return found


def _translate(pattern: str) -> str:
    """Return the regular expression of a shell pattern: `*` and `?` stop at slashes, `**/` does not."""
    out, at = [], 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 3
            continue
        letter, at = pattern[at], at + 1
        end = pattern.find("]", at + 1) if letter == "[" else -1
        if end >= 0:
            inside = pattern[at:end].replace("\\", "\\\\").replace("[", "\\[")
            out.append(f"[{'^' + inside[1:] if inside[0] in '!^' else inside}]")
            at = end + 1
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(letter, re.escape(letter)))
    return "".join(out)

"""Which tars a user means: paths, folders, patterns and URLs to names below one place."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import OptionError, ShardNotFoundError
from shardpack.format import manifest
from shardpack.index.braces import expand_braces
from shardpack.index.find_urls import COMPRESSED, find_urls
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import ObjectStore
from shardpack.storage.url import is_url


@dataclass(frozen=True, slots=True)
class TarSet:
    """Tars below one place: `names` are relative to it, in the order of the dataset."""

    store: ObjectStore
    names: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The place: an absolute path, or a URL without secrets."""
        return self.store.location

    @property
    def on_disk(self) -> bool:
        """Whether the place is a folder of this machine."""
        return not is_url(self.folder)

    def path(self, name: str) -> str:
        """Return where a tar, or what belongs beside it, is on the disk."""
        return os.path.join(self.folder, name)


def find_tars(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], options: Mapping[str, Any] | None = None
) -> TarSet:
    """Return the tars that paths, patterns, folders and URLs name, in the order given (a folder's by name).

    Patterns are those of shells: `*`, `?`, `[...]`, `**`, `{a,b}` and `{000000..000127}`. In a URL of
    a web server only the braces are: it has no list of its files.

    Args:
        paths: One, or a list.
        options: `storage_options`, for URLs.

    Raises:
        ShardNotFoundError: A path leads nowhere, or a folder or pattern holds no tar.
        OptionError: None is named, one is named twice, or by a name that no manifest may hold; or
            they lie on different servers or buckets.
    """
    wanted = _as_texts(paths)
    if not wanted:
        raise OptionError("no tar is named; name tars, or a folder of tars")
    urls = [path for path in wanted if is_url(path)]
    if urls and len(urls) < len(wanted):
        raise OptionError("some tars are on this disk and some are not; one dataset lies in one place")
    if not urls and options:
        raise OptionError(f"storage_options are for URLs, and {wanted[0]!r} is a path; leave them out")
    store, names = find_urls(wanted, options) if urls else _find_files(wanted)
    if len(set(names)) != len(names):
        raise OptionError("a tar is named twice; name each once")
    _check_names(names)
    return TarSet(store, names)


def _as_texts(paths: Any) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    try:
        found = [os.fspath(path) for path in paths]
    except TypeError as error:
        raise OptionError(f"expected a path, a URL or a list of them, got {paths!r}") from error
    if wrong := [path for path in found if not isinstance(path, str)]:
        raise OptionError(f"expected a path or a URL, got {wrong[0]!r}")
    return found


def _find_files(paths: Sequence[str]) -> tuple[LocalStore, tuple[str, ...]]:
    found: list[str] = []
    for path in paths:
        for one in [path] if os.path.exists(path) else expand_braces(path):
            tars = _tars_at(one)
            if not tars:
                raise _no_tars(one)
            found.extend(os.path.abspath(tar) for tar in tars)
    folder = os.path.commonpath([os.path.dirname(tar) for tar in found])
    return LocalStore(folder), tuple(os.path.relpath(tar, folder).replace(os.sep, "/") for tar in found)


def _tars_at(path: str) -> list[str]:
    if os.path.isdir(path):
        return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".tar"))
    if os.path.exists(path):
        return [path]
    return sorted(found for found in glob.glob(path, recursive=True) if not os.path.isdir(found))


def _no_tars(path: str) -> ShardNotFoundError:
    if not os.path.isdir(path):
        return ShardNotFoundError(f"no tar found at {path!r}; check the path")
    compressed = sum(name.endswith(COMPRESSED) for name in os.listdir(path))
    if compressed:
        return ShardNotFoundError(
            f"{compressed} tar(s) in {path!r} are compressed, which cannot be sought; unpack them to plain tars"
        )
    return ShardNotFoundError(
        f"no .tar file in {path!r}; for folders below it, give a pattern: {os.path.join(path, '**', '*.tar')!r}"
    )


def _check_names(names: Sequence[str]) -> None:
    owners: dict[str, str] = {}
    for name in names:
        problem = manifest.shard_name_problem(name)
        if problem:
            raise OptionError(f"cannot index a tar named {name!r}: {problem}; rename it")
        other = owners.setdefault(manifest.index_name(name), name)
        if other != name:
            raise OptionError(f"{other!r} and {name!r} would share one index; rename one")

"""Find the tars that a user names by paths, folders, patterns, URLs or a store: one store, and names in it."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xxhash import xxh3_128_hexdigest

from shardpack._version import __version__
from shardpack.errors import OptionError, ShardNotFoundError, StorageError
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.layout import index_path
from shardpack.format.not_tar import COMPRESSED_SUFFIXES, advice_for, compression_by_name
from shardpack.format.shard_info import is_shard_name
from shardpack.index.patterns import Glob, has_wildcards
from shardpack.index.roots import DiskRoot, Root, StoreRoot, split_url
from shardpack.runtime.braces import expand_braces
from shardpack.runtime.threads import call_all
from shardpack.storage.adapter import adapt, can_adapt
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import is_url, local_path

SUFFIX = ".tar"
REQUESTS_AT_ONCE = 16
SUFFIXES = (SUFFIX, COMPRESSED_SUFFIX)


@dataclass(frozen=True, slots=True)
class TarSet:
    """A store, and the names of the tars in it, in the order of the dataset."""

    store: WritableStore
    names: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The folder that the names are relative to: an absolute path, or a URL without secrets."""
        return self.store.folder or self.store.location

    @property
    def on_disk(self) -> bool:
        """Whether the tars are files on this machine."""
        return self.store.folder is not None

    def path(self, name: str) -> str:
        """Return the local path of a name."""
        return os.path.join(self.folder, name)


class TarDigests:
    """Digests that differ when a tar was replaced by another of its name, and for runs with other tars or options.

    The digest of a tar is taken when it is first asked for. Safe in threads.
    """

    def __init__(self, tars: TarSet, ignore: Sequence[str]) -> None:
        """Prepare digests of some tars; `ignore` is as `index` takes it, and part of each digest."""
        self._tars, self._made_by = tars, f"index {__version__} {' '.join(ignore)}"
        self._first: dict[str, str | None] = {}

    def first(self, name: str) -> str | None:
        """Return a tar's digest as it was when first asked for; None if the server sends no ETag."""
        if name not in self._first:
            self._first[name] = self.now(name)
        return self._first[name]

    def now(self, name: str) -> str | None:
        """Return a tar's digest as it is now; None if the server sends no ETag."""
        if self._tars.on_disk:
            status = os.stat(self._tars.path(name))
            return f"{self._made_by} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
        version = self._tars.store.version(name)
        return f"{self._made_by} {version.size} {version.etag}" if version.etag else None

    def of_run(self, *options: object) -> str:
        """Return a digest of all tars and of the options; "" if any tar has no digest."""
        names = self._tars.names
        limit = 1 if self._tars.on_disk else REQUESTS_AT_ONCE
        digests = call_all(self.first, names, limit=limit, purpose="ask")
        if None in digests:
            return ""
        return xxh3_128_hexdigest(json.dumps([names, digests, list(map(repr, options))]).encode())


def find_tars(tars: Any, options: Mapping[str, Any] | None = None) -> TarSet:
    """Return the named tars in the order given; the tars of a folder or pattern are sorted by name.

    Patterns are written as for a shell: `*`, `?`, `[...]`, `**/`, `{a,b}` and `{000000..000127}`. In the
    URL of a web server only braces work, as the server does not list its files. Costs one listing per
    folder or pattern, and none for names.

    Args:
        tars: A path, folder, pattern or URL, or a list of them; a store, for the tars at its top; or
            (store, names or patterns).
        options: `storage_options`, for URLs.

    Raises:
        ShardNotFoundError: A named tar does not exist, or a folder or pattern has no tars.
        StorageError: A named path is a FIFO, socket or device, or its status cannot be read.
        OptionError: No tar is named, one is named twice, a name may not be in a manifest, or the tars
            are on different servers or in different buckets.
    """
    paths: list[tuple[Root, str]] = []
    for root, given in _roots_and_paths(tars, options):
        for path in expand_braces(given) if root.kind(given) in ("missing", "unknown") else [given]:
            paths += [(root, tar) for tar in _tars_at(root, path)]
    first, _ = paths[0]
    if any(root != first for root, _ in paths):
        raise OptionError(
            "the tars are on different servers or in different buckets, or their URLs have different queries; "
            "a dataset must be below one URL"
        )
    folder = posixpath.commonpath([posixpath.dirname(path) for _, path in paths])
    store, start = first.store(folder)
    names = tuple(posixpath.relpath(path, start or ".") for _, path in paths)
    if len(set(names)) != len(names):
        raise OptionError("a tar is named twice; name each once")
    _refuse_unusable(names)
    return TarSet(store, names)


def _roots_and_paths(tars: Any, options: Mapping[str, Any] | None) -> list[tuple[Root, str]]:
    """Return the root and path of everything that is named; patterns are still patterns."""
    given, below = tars if isinstance(tars, tuple) and len(tars) == 2 else (tars, "")
    if can_adapt(given):
        if options:
            raise OptionError("storage_options are for URLs, and a store has its own options; leave them out")
        root = StoreRoot(adapt(given))
        return [(root, path.strip("/")) for path in _as_texts(below)]
    texts = [local_path(text) or text for text in _as_texts(tars)]
    if not texts:
        raise OptionError("no tar is named; name tars, or a folder of tars")
    urls = [text for text in texts if is_url(text)]
    if urls and len(urls) < len(texts):
        raise OptionError("some tars are on this disk and some are not; a dataset must be in one folder or bucket")
    if options and not urls:
        raise OptionError(f"storage_options are for URLs, and {texts[0]!r} is a path; leave them out")
    if urls:
        return [split_url(url, options) for url in urls]
    disk = DiskRoot()
    return [(disk, _absolute(text)) for text in texts]


def _as_texts(paths: Any) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    try:
        texts = [os.fspath(path) for path in paths]
    except TypeError as error:
        raise OptionError(f"expected a path, a URL, a store, or a list of paths or URLs, got {paths!r}") from error
    if wrong := [path for path in texts if not isinstance(path, str)]:
        raise OptionError(f"expected a path or a URL, got {wrong[0]!r}")
    return texts


def _absolute(path: str) -> str:
    """Return an absolute path with slashes; a slash at the end is kept, as it means a folder."""
    end = "/" if path.endswith(("/", os.sep)) else ""
    return os.path.abspath(path).replace(os.sep, "/") + end


def _tars_at(root: Root, path: str) -> list[str]:
    """Return the paths of the tars that a path, folder or pattern names."""
    kind = root.kind(path)
    if kind == "file":
        return [path]
    if kind == "special":
        raise StorageError(f"{root.shown(path)!r} is a FIFO, socket or device, not a file; name files")
    if kind == "folder" and path.endswith(SUFFIXES):
        raise OptionError(f"{root.shown(path)!r} is a folder, not a tar; for the tars in it, write {path + '/'!r}")
    if kind != "folder" and has_wildcards(path):
        return _matching(root, path)
    if kind == "missing":
        raise ShardNotFoundError(f"no tar found at {root.shown(path)!r}; check the path")
    if kind == "unknown" and path.endswith(SUFFIXES):
        return [path]
    return _in_folder(root, path.rstrip("/"))


def _matching(root: Root, pattern: str) -> list[str]:
    glob = Glob(pattern)
    paths = sorted(posixpath.join(glob.folder, name) for name in root.names(glob.folder, glob) if glob.matches(name))
    if not paths:
        raise ShardNotFoundError(f"no tar found at {root.shown(pattern)!r}; check the pattern")
    return _refuse_special(root, paths)


def _in_folder(root: Root, folder: str) -> list[str]:
    if (compression := compression_by_name(folder)) is not None:  # a compressed tar; only the disk knows folders
        raise ShardNotFoundError(
            f"{root.shown(folder)!r} is compressed with {compression.name}, which does not allow random access; "
            f"{advice_for(compression, folder)}"
        )
    names = sorted(root.names(folder))
    tars = [posixpath.join(folder, name) for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if tars:
        return _refuse_special(root, tars)
    compressed = [name for name in names if name.endswith(COMPRESSED_SUFFIXES)]
    if compressed:
        compression = compression_by_name(compressed[0])
        assert compression is not None
        raise ShardNotFoundError(
            f"{len(compressed)} tar(s) in {root.shown(folder)!r} are compressed, which does not allow random access; "
            f"{advice_for(compression, compressed[0])}"
        )
    pattern = f"{root.shown(folder).rstrip('/')}/**/*{SUFFIX}"
    raise ShardNotFoundError(
        f"no {SUFFIX} file in {root.shown(folder)!r}; to search the folders below it, give a pattern: {pattern!r}"
    )


def _refuse_special(root: Root, paths: list[str]) -> list[str]:
    """Return the paths; raise StorageError if one is not a regular file."""
    for path in paths:
        if root.kind(path) == "special":
            raise StorageError(f"{root.shown(path)!r} is a FIFO, socket or device, not a file; move it away")
    return paths


def _refuse_unusable(names: Sequence[str]) -> None:
    """Raise OptionError for a name that a manifest may not hold, and for two names with one index."""
    name_of_index: dict[str, str] = {}
    for name in names:
        if not is_shard_name(name):
            raise OptionError(
                f"cannot index a tar named {name!r}: it could lead outside the dataset, or is not a valid file name "
                "on every system; rename it"
            )
        other = name_of_index.setdefault(index_path(name), name)
        if other != name:
            raise OptionError(f"{other!r} and {name!r} would share one index; rename one")

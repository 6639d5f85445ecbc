r"""A store whose ranges are kept on a local disk: a wrapper that offers what the store below offers.

    get_many --found on disk?--> bytes, checked
             \--the rest, at once--> store --> bytes, kept for the next time

What is kept is exactly what was asked for, one file a range (`cache_folder.py`). Fixed pieces would
read more than is wanted of a bucket (64 KiB pieces half as much again for an image of 110 KB) or
need a table of pieces that processes change in place; a file that is written once and renamed needs
no agreement between them. A range that lies within a kept one is served from it: single samples from
blocks that were streamed, a sample from those it was fetched with. Ranges are never put together
from several: there is a request to make anyhow, and it brings all of it.

Nothing stale is served. A kept range belongs to the version of the object (ETag and length) that
this process reads, as the store says; an object for which it knows none, or which the server gives
no ETag, is not cached, and the manifest never is. The version costs nothing where a response has
said it. It is asked for, one request an object, only if the disk holds what is wanted of some
version: with nothing cached, reading takes no request more than without a cache.

A hit costs 70 us for 110 KB, checksums included (50 of them to bring so many bytes into fresh memory),
25 us for 3 KB out of a block of 4 MiB, 15 us for 3 KB kept alone (2-core VM, page cache warm).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

from shardpack.errors import ShardpackError
from shardpack.format import manifest
from shardpack.runtime.sizes import format_bytes
from shardpack.runtime.threads import call_all
from shardpack.storage.base_store import BaseStore, check_size
from shardpack.storage.cache.cache_folder import CacheFolder
from shardpack.storage.cache.entries import Entries
from shardpack.storage.protocols import Ranges, Store, Version

_FRESH = frozenset((manifest.FILE_NAME,))  # may be replaced at any time, and is where everything begins
_MAX_OBJECTS = 1024  # whose listings are remembered
_MAX_ASKED_AT_ONCE = 64
_PAUSE_SECONDS = 60.0  # after the disk refused: it may have been repaired


class CachedStore(BaseStore):
    """A store, and a folder on a disk with what was read of it before. Safe in threads and after fork.

    Pickles as the store below and its settings. Many stores and processes may share the folder;
    `max_bytes` is for all that is in it, and may be exceeded by what is being written at the moment.
    A disk that refuses means reading without the cache, after one warning. Requests and bytes
    fetched are those of the store below.
    """

    def __init__(self, base: Store, folder: str | os.PathLike[str], max_bytes: int, *, namespace: str = ""):
        """Touch neither yet.

        Args:
            base: The store below.
            folder: Where to keep ranges, in a folder of our own; made if missing.
            max_bytes: The limit of all that is in it.
            namespace: What tells objects of the same URL apart, such as the endpoint.
        """
        super().__init__(base.location)
        self.remote, self.prefetch_depth, self.stats = base.remote, base.prefetch_depth, base.stats
        self.merge_limits, self.checks_reads = base.merge_limits, base.checks_reads
        self._base, self._namespace = base, namespace
        self._disk = CacheFolder(os.path.abspath(os.fspath(folder)), max_bytes)
        self._versions: dict[str, str] = {}  # as the cache names them; "" for an object that it cannot keep
        self._objects: dict[str, Entries] = {}
        self._has_warned = False
        self._keep_after = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._base, self._disk.folder, self._disk.max_bytes, self._namespace))

    def __repr__(self) -> str:
        return f"CachedStore({self._base!r}, {self._disk.folder!r}, {self._disk.max_bytes})"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `RangeReader.get_range`. No request, if the range is cached."""
        return self.get_many([Ranges(path, [start], [length])])[0][0]

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `RangeReader.get_ranges`. Those that are not cached are read as the store below does."""
        return self.get_many([Ranges(path, starts, lengths)])[0]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `Store.get_many`. What is not cached is read as the store below does."""
        self._ask_versions(wanted)
        found = [self._read(ranges) for ranges in wanted]
        missing = []
        for ranges, parts in zip(wanted, found, strict=True):
            numbers = [i for i, part in enumerate(parts) if part is None]
            if numbers:
                starts, lengths = [ranges.starts[i] for i in numbers], [ranges.lengths[i] for i in numbers]
                missing.append((Ranges(ranges.path, starts, lengths), numbers, parts))
        if missing:
            fetched = self._base.get_many([ranges for ranges, _, _ in missing])
            for (ranges, numbers, parts), data in zip(missing, fetched, strict=True):
                for i, part in zip(numbers, data, strict=True):
                    parts[i] = part
                self._keep(ranges.path, zip(ranges.starts, data, strict=True))
        hits = sum(map(len, found)) - sum(len(numbers) for _, numbers, _ in missing)
        if hits:
            self.stats.add_hits(hits)
        return [[part for part in parts if part is not None] for parts in found]

    def size(self, path: str) -> int:
        """See `RangeReader.size`; the cache knows none."""
        return self._base.size(path)

    def version(self, path: str) -> Version:
        """See `Store.version`."""
        return self._base.version(path)

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """See `Store.buffer`. No request, if the object is cached as a whole."""
        self._ask_versions([Ranges(path, [0], [1])])
        if self._versions.get(path):
            size = self._base.size(path)
            check_size(path, size, max_bytes)
            (data,) = self._read(Ranges(path, [0], [size]))
            if data is not None:
                self.stats.add_hits(1)
                return data
        whole = self._base.buffer(path, max_bytes=max_bytes)
        self._keep(path, [(0, whole)])
        return whole

    def close(self) -> None:
        """See `Store.close`. The cache holds nothing open."""
        self._base.close()

    # What the store says

    def _ask_versions(self, wanted: Iterable[Ranges]) -> None:
        """Learn the versions of objects that were not read yet, where the answer may save reading."""
        paths = {ranges.path for ranges in wanted if self._may_hold(ranges)}
        call_all(self._learn_version, paths, limit=_MAX_ASKED_AT_ONCE, purpose="versions")

    def _may_hold(self, wanted: Ranges) -> bool:
        """Return whether the disk holds some of this, of a version that is not known to be the right one."""
        if wanted.path in self._versions or wanted.path in _FRESH:
            return False
        try:
            name = self._name(wanted.path)
            candidates = [self._disk.entries(name, version) for version in self._disk.versions(name)]
            return any(
                entries.may_hold(start, length)
                for entries in candidates
                for start, length in zip(wanted.starts, wanted.lengths, strict=True)
                if length
            )
        except OSError as error:
            self._warn(error)
            return False

    def _learn_version(self, path: str) -> None:
        # A store that cannot tell is read without the cache, and says itself what is wrong.
        with suppress(ShardpackError):
            version = self._base.version(path)
            self._versions[path] = _hashed(f"{version.size} {version.etag}") if version.etag else ""

    def _name(self, path: str) -> str:
        return _hashed(f"{self._namespace}\n{self.location.rstrip('/')}/{path}")

    # What the disk has

    def _entries(self, path: str) -> Entries | None:
        """Return what is cached of the version that is read; None if that is not known or has no name."""
        entries = self._objects.get(path)
        if entries is None:
            version = self._versions.get(path)
            if not version:
                return None
            entries = self._objects.setdefault(path, self._disk.entries(self._name(path), version))
            while len(self._objects) > _MAX_OBJECTS:
                with suppress(KeyError, StopIteration, RuntimeError):  # other threads do the same
                    self._objects.pop(next(iter(self._objects)))
        return entries

    def _read(self, wanted: Ranges) -> list[bytes | None]:
        """Return those ranges that are on the disk, None for the others."""
        entries = self._entries(wanted.path)
        if entries is None:
            return [None] * len(wanted.starts)
        try:
            return [
                entries.read(start, length) if length else None
                for start, length in zip(wanted.starts, wanted.lengths, strict=True)
            ]
        except OSError as error:
            self._warn(error)
            return [None] * len(wanted.starts)

    def _keep(self, path: str, fetched: Iterable[tuple[int, Any]]) -> None:
        """Put what was fetched on the disk, if there is a way."""
        if path in _FRESH or time.monotonic() < self._keep_after:
            return
        if path not in self._versions:
            self._learn_version(path)  # which the response has said
        entries = self._entries(path)
        if entries is None:
            if self._versions.get(path) == "":
                self._warn("the server gives no ETag, by which to know a replaced object")
            return
        try:
            for start, data in fetched:
                if not self._disk.has_room_for(len(data)):
                    limit = format_bytes(self._disk.max_bytes)
                    self._warn(f"{format_bytes(len(data))} were read at once, too much for a limit of {limit}")
                elif len(data):
                    self._disk.keep(entries, start, data)
        except OSError as error:
            self._keep_after = time.monotonic() + _PAUSE_SECONDS
            self._warn(error)

    def _warn(self, problem: str | OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            reason = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
            message = f"the cache in {self._disk.folder!r} is not used for all reads: {reason}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def _hashed(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _rebuild(base: Store, folder: str, max_bytes: int, namespace: str) -> CachedStore:
    return CachedStore(base, folder, max_bytes, namespace=namespace)

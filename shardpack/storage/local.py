"""A folder as a store: objects are files, read by position or through maps, with hints to the kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shardpack.errors import StaleIndexError, StorageError
from shardpack.storage.atomic import create_file, storage_errors, sync_folder, write_file
from shardpack.storage.base_store import BaseStore, check_size
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.file_map import NO_ROOM
from shardpack.storage.local_file import LocalFile, open_regular
from shardpack.storage.process_limits import max_files
from shardpack.storage.protocols import Listed, Version

# A local read costs less than a microsecond besides its bytes: merge the members of one small sample, but do not copy
# a large payload twice to save one call. The gap is one header and its padding, shorter than any member: reading
# some fields never reads the bytes of another.
_MERGE_LIMITS = MergeLimits(max_gap_bytes=1023, max_request_bytes=64 << 10)
_COPY_BYTES = 4 << 20
# Before Python 3.13 each map holds one of the few descriptors of a process; from 3.13 on only an area of the address
# space, of which Linux allows 65,530.
MAP_FROM_BYTES = 64 << 10 if sys.version_info >= (3, 13) else 1 << 20


class LocalStore(BaseStore):
    """Objects are the files below a folder. Holds one descriptor per file, opened at first use.

    Safe in threads and after fork: each read has its own offset, and no file position is shared.
    """

    merge_limits = _MERGE_LIMITS
    can_create = True

    def __init__(
        self, location: str | os.PathLike[str], folder: str | None = None, *, max_open_files: int | None = None
    ) -> None:
        """Read the files below a path.

        Args:
            location: The path, shown in messages.
            folder: Its absolute path, for a copy of this store in another working directory.
            max_open_files: Number of descriptors to keep open; None for a share of what the system allows.
        """
        super().__init__(os.fspath(location))
        self._max_open_files = max_files() if max_open_files is None else max_open_files
        self.folder: str = os.path.abspath(self.location) if folder is None else folder
        self._files: dict[str, LocalFile] = {}
        self._identities: dict[str, tuple[int, ...]] = {}  # of each file, when it was first opened

    def __reduce__(self) -> tuple[type[LocalStore], tuple[str, str]]:
        return (LocalStore, (self.location, self.folder))

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a range. Costs one system call."""
        data = self._file(path).read(start, length)
        self.stats.add_requests(1, length)
        return data

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return the ranges, after telling the kernel about those that are not in the page cache."""
        file = self._file(path)
        if len(starts) > 1:
            file.prefetch(starts, lengths)
        read = file.read
        data = [read(start, length) for start, length in zip(starts, lengths, strict=True)]
        self.stats.add_requests(len(data), sum(lengths))
        return data

    def size(self, path: str) -> int:
        return self._file(path).size()

    def version(self, path: str) -> Version:
        return self._file(path).version()

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return a read-only map of the file, or the bytes of a small file."""
        with self._open(path) as file:
            size = file.size()
            check_size(path, size, max_bytes)
            self.stats.add_requests(1, size)
            return file.read(0, size) if size < MAP_FROM_BYTES else file.map()

    def map(self, path: str) -> Any | None:
        """Return a map of the file for many small random reads, or None if it cannot be mapped."""
        return self._file(path).map_for_slices()

    def is_cached(self, path: str, start: int) -> bool:
        """Return whether a byte is in memory; True if the system cannot tell."""
        return self._file(path).is_cached(start)

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Tell the kernel which ranges will be needed, except those already in the page cache."""
        self._file(path).prefetch(starts, lengths)

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:  # noqa: ARG002
        """Store an object: written under a temporary name, synced, renamed."""
        full = self._resolve(path)
        with storage_errors(f"write {full!r}"):
            os.makedirs(os.path.dirname(full), exist_ok=True)
            write_file(full, _parts(source))
            sync_folder(os.path.dirname(full))
        self._forget(path)

    def create(self, path: str, source: bytes | Path) -> None:
        full = self._resolve(path)
        with storage_errors(f"write {full!r}"):
            os.makedirs(os.path.dirname(full), exist_ok=True)
            create_file(full, _parts(source))
            sync_folder(os.path.dirname(full))
        self._forget(path)

    def delete(self, path: str) -> None:
        full = self._resolve(path)
        with storage_errors(f"delete {full!r}"), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(full)
        self._forget(path)

    def names(self) -> list[str]:
        names = []
        for folder, _, files in os.walk(self.folder):
            below = os.path.relpath(folder, self.folder).replace(os.sep, "/")
            names.extend(files if below == "." else [f"{below}/{file}" for file in files])
        return sorted(names)

    def listing(self) -> list[Listed]:
        """Return all files, sorted by name, with length and time."""
        found = []
        for name in self.names():
            with suppress(FileNotFoundError):  # it was deleted meanwhile
                status = os.stat(os.path.join(self.folder, name), follow_symlinks=False)
                found.append(Listed(name, status.st_size, status.st_mtime))
        return found

    def close(self) -> None:
        """Close all descriptors; later reads open them again."""
        self._files.clear()

    def _forget(self, path: str) -> None:
        """Forget the file that had this name until now."""
        self._files.pop(path, None)
        self._identities.pop(path, None)

    def _resolve(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def _open(self, path: str) -> LocalFile:
        """Return a file, opened; if the process has no descriptor left, close the files that are kept open first."""
        full = self._resolve(path)
        try:
            return LocalFile(full, path)
        except StorageError as error:
            if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM and self._files):
                raise
        self._files.clear()
        return LocalFile(full, path)

    def _file(self, path: str) -> LocalFile:
        file = self._files.get(path)
        if file is None:
            # No lock: if two threads open the same file, the unused copy closes itself.
            opened = self._open(path)
            identity = opened.identity()
            if self._identities.setdefault(path, identity) != identity:
                raise StaleIndexError(
                    "the file was replaced after this dataset was opened; open the dataset again", path=path
                )
            file = self._files.setdefault(path, opened)
            while len(self._files) > self._max_open_files:
                with suppress(KeyError, StopIteration, RuntimeError):
                    self._files.pop(next(iter(self._files)))
        return file


def _parts(source: bytes | Path) -> Iterator[bytes]:
    """Yield the bytes, or a file in pieces of a few MiB."""
    if isinstance(source, bytes):
        yield source
        return
    with open(open_regular(os.fspath(source)), "rb", buffering=0) as file:
        while part := file.read(_COPY_BYTES):
            yield part

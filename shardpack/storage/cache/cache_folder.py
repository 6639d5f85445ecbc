"""The files of a cache: ranges of objects, in a folder of limited size that many processes share.

    folder/shardpack-cache-v1/          nothing outside of it is touched, and nothing inside of another name
        CACHEDIR.TAG                    the marker, which backup programs also recognise
        used                            bytes reserved, in decimal; read and written only under the lock
        tmp/<random>.tmp                being written; files of killed processes are deleted by age
        <object>/<version>/<range>      an entry; its names reveal only the start and length of the range

An entry is written once, under a temporary name, then renamed: it exists complete or not at all, two writers of one
entry both succeed, and neither waits. It ends with one CRC32C per 64 KiB, checked by each read, so nothing has to
be synced: an entry damaged by a crash, a bad disk or a stranger is a miss. Reading needs no lock; an entry that is
deleted meanwhile is a miss, or is read to its end.

Space is reserved before an entry is written. The lock for that, `flock` on the cache's folder, ends with its
process. A process that finds too little space evicts the least recently used entries, down to nine tenths of the
limit. Space that a killed process had reserved is found by the next eviction, which counts all files. The time of
use is the file's modification time, updated at most once a minute.

This file knows no store: objects and versions are names, and errors of the disk are raised as OSError.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from shardpack.errors import StorageError
from shardpack.storage.atomic import NewFile
from shardpack.storage.cache.entries import ENTRY_NAME, Entries, file_bytes
from shardpack.storage.local_file import open_regular
from shardpack.storage.lock import FolderLock

FOLDER_NAME = "shardpack-cache-v1"
MARKER_NAME = "CACHEDIR.TAG"
_MARKER = (  # the first line is prescribed by https://bford.info/cachedir/
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# A cache of shardpack. It may be deleted at any time, as a whole or in part.\n"
)
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600  # objects of a private bucket stay private
_BINARY, _NO_WAIT = getattr(os, "O_BINARY", 0), getattr(os, "O_NONBLOCK", 0)  # a pipe is refused at once
_HASHED = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = re.compile(r"[0-9a-f]{16}\.tmp")

_DISK_BLOCK_BYTES = 4096
_KEEP_PART = 0.9  # share of the limit that an eviction leaves: each one looks at every file
_STALE_SECONDS = 600.0  # since the last write; a process that was halted for longer starts over
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 30, 0.001  # then another process is evicting: do not keep what was read


class CacheFolder:
    """The cache in a folder. Safe in threads, after fork, and with other processes.

    Holds no descriptor and no lock between calls. Creates nothing before the first entry.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.root = os.path.join(folder, FOLDER_NAME)
        self._temporary = os.path.join(self.root, "tmp")
        self._used_path = os.path.join(self.root, "used")
        self._made = False

    def versions(self, name: str) -> list[str]:
        """Return the versions of an object that may have entries; usually none or one."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return [entry for entry in os.listdir(os.path.join(self.root, name)) if _HASHED.fullmatch(entry)]
        return []

    def entries(self, name: str, version: str) -> Entries:
        """Return the entries of a version of an object; both names are 32 hexadecimal digits."""
        return Entries(os.path.join(self.root, name, version))

    def has_room_for(self, length: int) -> bool:
        """Return whether a range is short enough to be cached: at most half of the limit, to leave space for others."""
        return _disk_bytes(file_bytes(length)) <= self.max_bytes // 2

    def keep(self, entries: Entries, start: int, data: Any) -> None:
        """Store a range, unless another process is evicting.

        Raises:
            OSError: The disk refused.
            StorageError: A folder of our name is not a cache.
        """
        if not self._made:
            self._make()
        try:
            self._keep(entries, start, data)
        except FileNotFoundError:  # the cache was deleted: create it again, but not the user's folder
            self._make()
            self._keep(entries, start, data)

    def _keep(self, entries: Entries, start: int, data: Any) -> None:
        length = len(data)
        final = entries.entry(start, length)
        if os.path.exists(final) or not self._reserve(_disk_bytes(file_bytes(length))):
            return
        file = NewFile(os.path.join(self._temporary, f"{secrets.token_hex(8)}.tmp"), mode=_FILE_MODE)
        try:
            file.write(data)
            file.write(entries.checksums(start, length, data))
            file.close()
            try:
                os.replace(file.path, final)
            except FileNotFoundError:
                _make_folder(os.path.dirname(entries.folder))
                _make_folder(entries.folder)
                os.replace(file.path, final)
        except BaseException:
            file.discard()
            raise
        entries.add(start, length)

    def _make(self) -> None:
        """Create the missing folders and the marker; delete unfinished files of killed processes."""
        if not self._made:
            os.makedirs(self.folder, mode=_FOLDER_MODE, exist_ok=True)
        _make_folder(self.root)
        marker = os.path.join(self.root, MARKER_NAME)
        if not os.path.exists(marker):
            names = os.listdir(self.root)
            if names and MARKER_NAME not in names:
                raise StorageError(f"{FOLDER_NAME} in it is not a cache: it has no {MARKER_NAME}")
            with open(os.open(marker, os.O_WRONLY | os.O_CREAT | _BINARY, _FILE_MODE), "wb") as file:
                file.write(_MARKER)
        _make_folder(self._temporary)
        self._made = True
        self._delete_stale()

    def _delete_stale(self) -> int:
        """Delete old unfinished files; return the bytes of recent ones, which other processes may be writing."""
        left = 0
        for path, status in _files(self._temporary, _TEMPORARY):
            if abs(time.time() - status.st_mtime) > _STALE_SECONDS:
                with suppress(OSError):
                    os.unlink(path)
            else:
                left += _disk_bytes(status.st_size)
        return left

    def _reserve(self, num_bytes: int) -> bool:
        """Reserve space for so many bytes, evicting entries if necessary; return whether that succeeded.

        It fails while another process holds the lock, or if all entries were used again during the eviction.
        """
        with FolderLock(self.root) as lock:
            for _ in range(_LOCK_TRIES):
                if lock.try_acquire():
                    break
                time.sleep(_LOCK_PAUSE_SECONDS)
            else:
                return False
            used = self._used()
            if used is None or used + num_bytes > self.max_bytes:
                used = self._evict(num_bytes)
            has_room = used + num_bytes <= self.max_bytes
            self._set_used(used + num_bytes * has_room)
        return has_room

    def _used(self) -> int | None:
        """Return how many bytes are reserved; None if that is unknown."""
        try:
            with open(open_regular(self._used_path), "rb", buffering=0) as file:
                text = file.read(20)
        except FileNotFoundError:
            return None
        return int(text) if len(text) == 20 and text.isdigit() else None

    def _set_used(self, num_bytes: int) -> None:
        descriptor = os.open(self._used_path, os.O_WRONLY | os.O_CREAT | _NO_WAIT | _BINARY, _FILE_MODE)
        try:
            os.write(descriptor, b"%020d" % num_bytes)
        finally:
            os.close(descriptor)

    def _evict(self, num_bytes: int) -> int:
        """Evict entries if so many bytes do not fit; return the bytes reserved then. Looks at every file."""
        ages, sizes = array("d"), array("q")
        for folder in self._folders():
            for _, status in _files(folder, ENTRY_NAME):
                ages.append(status.st_mtime)
                sizes.append(_disk_bytes(status.st_size))
        used = sum(sizes) + self._delete_stale()
        if used + num_bytes <= self.max_bytes or not sizes:
            return used
        surplus = used + num_bytes - int(self.max_bytes * _KEEP_PART)
        oldest = np.argsort(ages, kind="stable")
        freed = np.cumsum(np.asarray(sizes)[oldest])
        last = min(int(np.searchsorted(freed, surplus)), len(oldest) - 1)
        return used - self._delete(ages[oldest[last]], surplus)

    def _delete(self, youngest: float, num_bytes: int) -> int:
        """Delete entries last used at a time or before, until so many bytes are free; return the bytes freed.

        Looks at every file again: a list would take memory, and not show which entries were used since.
        """
        freed, refused = 0, None
        for folder in self._folders():
            left = 0
            for path, status in _files(folder, ENTRY_NAME):
                left += 1
                if freed >= num_bytes or status.st_mtime > youngest:
                    continue
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass  # another process found it damaged
                except OSError as error:
                    refused = error
                    continue
                freed += _disk_bytes(status.st_size)
                left -= 1
            if not left:
                _remove_unused(folder)
        if refused is not None and not freed:
            raise refused
        return freed

    def _folders(self) -> Iterator[str]:
        """Yield the folder of each version of each object."""
        for name in _subfolders(self.root):
            yield from _subfolders(name)


def _make_folder(path: str) -> None:
    """Create one folder, unless it exists; its parent must exist."""
    with suppress(FileExistsError):
        os.mkdir(path, _FOLDER_MODE)


def _remove_unused(folder: str) -> None:
    """Remove the empty folders of a version and its object, unless they are new: another process may need them."""
    with suppress(OSError):
        if abs(time.time() - os.stat(folder).st_mtime) > _STALE_SECONDS:
            os.rmdir(folder)
            os.rmdir(os.path.dirname(folder))


def _disk_bytes(size: int) -> int:
    """Return the disk space of a file, computed, as some file systems report it late or not at all."""
    return -(-size // _DISK_BLOCK_BYTES) * _DISK_BLOCK_BYTES


def _subfolders(folder: str) -> list[str]:
    """Return the folders in a folder that are named like ours; no links."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
        return [e.path for e in listed if _HASHED.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    return []


def _files(folder: str, named: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder that are named like ours; no links."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as listed:
        for entry in listed:
            if named.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield entry.path, status

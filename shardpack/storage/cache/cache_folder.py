"""The files of a cache: ranges of objects in a folder that many processes share, bounded in bytes.

    folder/shardpack-cache-v1/          nothing outside is ever touched, nor anything within of another name
        CACHEDIR.TAG                    the marker; programs that make backups know it too
        used                            bytes taken, in decimal; only ever read and written under the lock
        tmp/<random>.tmp                being written; whatever a killed process leaves is swept by age
        <object>/<version>/<range>      an entry; the names tell nothing but where a range starts and how long it is

Every entry is written once, under a temporary name, and renamed: it is whole or not there, two
writers of one entry both succeed, and none waits for another. Its bytes end with a CRC32C for every
64 KiB, checked by each read of them, so that nothing needs to be synced: what a lost machine, a bad
disk or a stranger did to an entry makes it a miss. Reading takes no lock; an entry deleted meanwhile
is a miss, or is read to its end.

Room is taken before an entry is written. The lock for that, `flock` on the cache's folder, ends with
its process; whoever finds no room evicts, the least recently used first, down to nine tenths of the
limit. A process killed on the way leaves room taken that nothing fills: the next eviction counts
what is there. The time of use is the file's modification time, set anew once a minute at most.

This file knows no store: object and version are names to it, and errors of the disk leave it as OSError.
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
_MARKER = (  # the first line is what https://bford.info/cachedir/ asks for
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# A cache of shardpack. It may be deleted at any time, as a whole or in part.\n"
)
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600  # what a bucket shows to its owner alone, a cache does not show to others
_BINARY, _NO_WAIT = getattr(os, "O_BINARY", 0), getattr(os, "O_NONBLOCK", 0)  # a pipe is refused at once
_HASHED = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = re.compile(r"[0-9a-f]{16}\.tmp")

_DISK_BLOCK_BYTES = 4096
_KEEP_PART = 0.9  # of the limit, what an eviction leaves: each looks at every file
_STALE_SECONDS = 600.0  # since the last write to it; one that was only halted for so long begins anew
_LOCK_TRIES, _LOCK_PAUSE_SECONDS = 30, 0.001  # then somebody evicts: go on without keeping what was read


class CacheFolder:
    """The cache in a folder. Safe in threads, after fork, and with other processes at work in it.

    Holds no descriptor and no lock between calls. Nothing is made before something is kept.
    """

    def __init__(self, folder: str, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self.root = os.path.join(folder, FOLDER_NAME)
        self._temporary = os.path.join(self.root, "tmp")
        self._used_path = os.path.join(self.root, "used")
        self._made = False

    def versions(self, name: str) -> list[str]:
        """Return the versions of an object of which something may be cached; usually none or one."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return [found for found in os.listdir(os.path.join(self.root, name)) if _HASHED.fullmatch(found)]
        return []

    def entries(self, name: str, version: str) -> Entries:
        """Return what is cached of a version of an object; both are 32 hexadecimal digits."""
        return Entries(os.path.join(self.root, name, version))

    def has_room_for(self, length: int) -> bool:
        """Return whether a range is short enough to be kept: half of the limit, so that keeping it leaves others."""
        return _taken(file_bytes(length)) <= self.max_bytes // 2

    def keep(self, entries: Entries, start: int, data: Any) -> None:
        """Store a range, unless there is no time for it: while another process evicts.

        Raises:
            OSError: The disk refused; a StorageError, if the folder of our name is not a cache.
        """
        if not self._made:
            self._make()
        try:
            self._keep(entries, start, data)
        except FileNotFoundError:  # emptied by somebody: make it again, but not the folder it was given
            self._make()
            self._keep(entries, start, data)

    def _keep(self, entries: Entries, start: int, data: Any) -> None:
        length = len(data)
        final = entries.entry(start, length)
        if os.path.exists(final) or not self._take_room(_taken(file_bytes(length))):
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
        """Make the folders and the marker, where they are missing; delete what others left unfinished."""
        if not self._made:
            os.makedirs(self.folder, mode=_FOLDER_MODE, exist_ok=True)
        _make_folder(self.root)
        marker = os.path.join(self.root, MARKER_NAME)
        if not os.path.exists(marker):
            found = os.listdir(self.root)
            if found and MARKER_NAME not in found:
                raise StorageError(f"{FOLDER_NAME} in it is not a cache: it has no {MARKER_NAME}")
            with open(os.open(marker, os.O_WRONLY | os.O_CREAT | _BINARY, _FILE_MODE), "wb") as file:
                file.write(_MARKER)
        _make_folder(self._temporary)
        self._made = True
        self._delete_stale()

    def _delete_stale(self) -> int:
        """Delete what was begun long ago; return the bytes that others are writing now, or were lately."""
        left = 0
        for path, status in _files(self._temporary, _TEMPORARY):
            if abs(time.time() - status.st_mtime) > _STALE_SECONDS:
                with suppress(OSError):
                    os.unlink(path)
            else:
                left += _taken(status.st_size)
        return left

    def _take_room(self, num_bytes: int) -> bool:
        """Return whether there is room for so much more, now taken; evicts for it.

        False while others are at it, or if all was used again while this looked.
        """
        with FolderLock(self.root) as lock:
            for _ in range(_LOCK_TRIES):
                if lock.take():
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
        """Return how many bytes are taken; None if that is not known."""
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
        """Return the bytes taken after making room for so many more, if there was none. Looks at every file."""
        ages, sizes = array("d"), array("q")
        for folder in self._folders():
            for _, status in _files(folder, ENTRY_NAME):
                ages.append(status.st_mtime)
                sizes.append(_taken(status.st_size))
        used = sum(sizes) + self._delete_stale()
        if used + num_bytes <= self.max_bytes or not sizes:
            return used
        surplus = used + num_bytes - int(self.max_bytes * _KEEP_PART)
        oldest = np.argsort(ages, kind="stable")
        freed = np.cumsum(np.asarray(sizes)[oldest])
        last = min(int(np.searchsorted(freed, surplus)), len(oldest) - 1)
        return used - self._delete(ages[oldest[last]], surplus)

    def _delete(self, youngest: float, num_bytes: int) -> int:
        """Delete entries last used at a time or before, until so much is free; return how much was freed.

        Looks again at every file: a list from before would take memory, and not know what was used since.
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
                    pass  # it was damaged, and somebody noticed
                except OSError as error:
                    refused = error
                    continue
                freed += _taken(status.st_size)
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
    """Make one folder, unless it is there; the one above must be."""
    with suppress(FileExistsError):
        os.mkdir(path, _FOLDER_MODE)


def _remove_unused(folder: str) -> None:
    """Remove the empty folder of a version, and of its object; not if new, as somebody may be about to fill it."""
    with suppress(OSError):
        if abs(time.time() - os.stat(folder).st_mtime) > _STALE_SECONDS:
            os.rmdir(folder)
            os.rmdir(os.path.dirname(folder))


def _taken(size: int) -> int:
    """Return what a file takes of a disk; by rule, as some file systems tell it late or not at all."""
    return -(-size // _DISK_BLOCK_BYTES) * _DISK_BLOCK_BYTES


def _subfolders(folder: str) -> list[str]:
    """Return the folders in a folder that are named as ours; no links."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        return [e.path for e in found if _HASHED.fullmatch(e.name) and e.is_dir(follow_symlinks=False)]
    return []


def _files(folder: str, named: re.Pattern[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder that are named as ours; no links."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as found:
        for entry in found:
            if named.fullmatch(entry.name):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield entry.path, status

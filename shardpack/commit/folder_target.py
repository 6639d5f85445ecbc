"""A folder as the target of a dataset: temporary names, syncs and renames, under a lock that ends with its process.

OUT/.shardpack/tmp/<owner>-<name>.<pid>.tmp     being written
OUT/.shardpack/tmp/<owner>-shard-000003.tar     finished, not yet moved to OUT

On a file system without locks two processes may write at once, until one finds the other's lease. So unfinished
files carry the name of their owner, and only the next run deletes those of others.

Parts of one plan (`shared_transaction.py`) share the lock, and each has a scratch folder of its own:

OUT/.shardpack/tmp/shardpack-<host>-<pid>-xxxx/
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from shardpack.commit.edit_folder import folder_of_edit
from shardpack.commit.lease import busy
from shardpack.commit.scratch import ScratchDir, new_scratch
from shardpack.errors import OutputExistsError
from shardpack.format.layout import FOLDER, MANIFEST_PATH, WORK_FOLDER
from shardpack.storage.atomic import create_file, fsync_file, make_folder, sync_folder, write_file
from shardpack.storage.local_file import open_regular
from shardpack.storage.lock import Flock, FolderLock, system_flock

# The workers of a killed packer end within milliseconds, or when the kernel finishes their current write.
SECONDS_TO_WAIT = 1.0


class FolderTarget:
    """A folder as a `Target`; created when it is first written to."""

    moves_files = True
    can_create = True

    def __init__(
        self,
        path: str,
        *,
        shared: bool = False,
        seconds_to_wait: float = SECONDS_TO_WAIT,
        flock: Flock = system_flock,
    ) -> None:
        """Write to a folder; does nothing yet.

        Args:
            path: The folder.
            shared: Whether other processes write here, too, by agreement.
            seconds_to_wait: How long `lock` waits for the workers of a killed packer to end.
            flock: What locks the work folder.
        """
        self.location, self._shared = path, shared
        self._seconds_to_wait, self._flock = seconds_to_wait, flock
        self._owner = secrets.token_hex(4)
        self._changed: set[str] = set()  # folders whose entries must be synced
        self._making = threading.Lock()
        self._held: tuple[ScratchDir, FolderLock] | None = None  # if shared

    def opener(self) -> Callable[[], FolderTarget]:
        return partial(FolderTarget, os.path.abspath(self.location), shared=True)

    def join(self, *names: str) -> str:
        return os.path.join(self.location, *names)

    @property
    def scratch(self) -> ScratchDir:
        """The work folder, or if shared a folder in it, out of which finished files are renamed."""
        if not self._shared:
            return ScratchDir(self.join(WORK_FOLDER), self._owner)
        with self._making:
            if self._held is None:
                self._held = new_scratch(self.join(WORK_FOLDER))
            return self._held[0]

    def clear_scratch(self) -> None:
        """Delete everything but lease, journal and the folders of edits from the work folder."""
        work = self.join(WORK_FOLDER)
        for name in _listed(work):
            if not (name.endswith(".json") or folder_of_edit(f"{WORK_FOLDER}/{name}/")):
                _remove(os.path.join(work, name))

    def drop_scratch(self) -> None:
        """Delete our files from the work folder, then each folder that is empty."""
        if not self._shared:
            for path in self.scratch.paths():
                _remove(path)
        elif self._held is not None:
            scratch, lock = self._held
            self._held = None
            scratch.remove()
            lock.release()
        if self._shared and self.size(MANIFEST_PATH) is None:
            return  # a folder that is empty now may be the one where another process is about to create a file
        folders = [path for path, _, _ in os.walk(self.join(FOLDER), topdown=False)]
        # The work folder goes after all others: without it the next editor has a lock, and makes folders.
        for path in sorted(folders, key=self.join(WORK_FOLDER).startswith):
            with suppress(OSError):  # it is not empty
                os.rmdir(path)

    def lock(self) -> FolderLock:
        give_up = time.monotonic() + self._seconds_to_wait
        while True:
            make_folder(self.join(WORK_FOLDER))
            with suppress(FileNotFoundError):  # its last owner removed it at this moment
                lock = FolderLock(self.join(WORK_FOLDER), flock=self._flock)
                if lock.try_acquire(shared=self._shared):
                    if lock.is_current():
                        return lock
                elif time.monotonic() > give_up:
                    lock.release()
                    raise busy(self.location)
                lock.release()
            time.sleep(0.01)

    def refresh(self) -> None:
        """Do nothing: a folder is listed at each call."""

    def names(self) -> list[str]:
        """Return the names in the folder and in the dot-folder; other subfolders are ignored."""
        return [*_listed(self.location), *_below(self.location, FOLDER)]

    def names_below(self, folder: str) -> list[str]:
        return list(_below(self.location, folder))

    def size(self, name: str) -> int | None:
        try:
            status = os.stat(self.join(name))
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else -1

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes; None also if it is unreadable or not a regular file."""
        try:
            with open(open_regular(self.join(name)), "rb") as file:
                return file.read()
        except OSError:
            return None

    def put(self, name: str, parts: Iterable[Any]) -> None:
        write_file(self._prepared(name), parts, temporary=self._temporary(name))

    def replace(self, name: str, data: bytes) -> None:
        self.put(name, [data])

    def put_unsynced(self, name: str, data: bytes) -> None:
        temporary = self._temporary(name)
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, self.join(name))

    def create(self, name: str, parts: Iterable[Any]) -> None:
        create_file(self._prepared(name), parts, temporary=self._temporary(name))

    def put_file(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:  # noqa: ARG002 - just written
        """Sync a file and rename it to `name`."""
        fsync_file(path)
        os.replace(path, self._prepared(name))

    def add(self, names: Iterable[str]) -> None:
        """Do nothing: a folder is listed at each call."""

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self.join(name)
            try:
                os.unlink(path)
            except FileNotFoundError:
                continue
            except OSError:
                if not os.path.isdir(path):
                    raise
                raise OutputExistsError(
                    f"{path!r} is a folder, where a file of the dataset belongs; move it away"
                ) from None
            self._changed.add(os.path.dirname(path))

    def fsync(self) -> None:
        while self._changed:
            with suppress(FileNotFoundError):
                sync_folder(self._changed.pop())

    def _prepared(self, name: str) -> str:
        """Return the path of a file after creating its folder."""
        path = self.join(name)
        folder = os.path.dirname(path)
        make_folder(folder)
        self._changed.add(folder)
        return path

    def _temporary(self, name: str) -> str:
        return f"{self.scratch.join(name)}.{os.getpid()}.tmp"


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _below(folder: str, name: str) -> Iterator[str]:
    """Yield the names of all files below `folder`/`name`, relative to `folder`."""
    for entry in _listed(os.path.join(folder, name)):
        path = f"{name}/{entry}"
        yield from _below(folder, path) if os.path.isdir(os.path.join(folder, path)) else [path]


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            os.unlink(path)

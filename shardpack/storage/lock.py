"""Locks on folders, so that two processes do not write into one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from shardpack.runtime.fork import watch_forks

Flock = Callable[[int, bool], None]  # (descriptor, shared): BlockingIOError if it is somebody's, OSError if none can be

if sys.platform == "win32":

    def system_flock(descriptor: int, shared: bool) -> None:
        """There are no locks on folders."""

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

    def system_flock(descriptor: int, shared: bool) -> None:
        """Lock an open folder, without waiting."""
        flock(descriptor, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)


class FolderLock:
    """A lock on a folder: one holder, or many that share it. The kernel releases it if its process is killed.

    `flock` on the folder itself: nothing is written, so nothing can be left behind. Where there is
    no such lock (Windows, some network file systems) everybody gets one. A context manager.
    """

    def __init__(self, path: str, *, flock: Flock = system_flock):
        """Open the folder; `flock` is what locks it."""
        self._path, self._flock = path, flock
        self._descriptor = -1
        if sys.platform != "win32":
            self._descriptor = os.open(path, os.O_RDONLY)
            watch_forks(self)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()

    def take(self, *, shared: bool = False) -> bool:
        """Return whether the lock is ours now, as asked; if not, somebody else holds it. Never waits.

        May be called again to change between shared and not; a failed change loses the lock.
        """
        try:
            self._flock(self._descriptor, shared)
        except BlockingIOError:
            return False
        except OSError:
            pass  # no locks here
        return True

    def is_current(self) -> bool:
        """Return whether the folder still has its name: its last owner may have removed it."""
        if self._descriptor < 0:
            return True
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def after_fork(self) -> None:
        """Leave the lock to the parent: a child that outlives it would keep the folder locked."""
        self.release()

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

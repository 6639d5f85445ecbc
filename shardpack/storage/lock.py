"""Locks on folders, so that two processes do not write to the same one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from shardpack.runtime.process import watch_forks

Flock = Callable[[int, bool], None]  # (descriptor, shared); BlockingIOError: another has it; OSError: no locks

if sys.platform == "win32":

    def system_flock(descriptor: int, shared: bool) -> None:
        """Do nothing: Windows has no locks on folders."""

else:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

    def system_flock(descriptor: int, shared: bool) -> None:
        """Lock an open folder, without waiting."""
        flock(descriptor, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)


class FolderLock:
    """A lock on a folder, exclusive or shared, that the kernel releases when its process ends. A context manager.

    Uses `flock` on the folder itself: nothing is written, so nothing can be left behind. Where that does not
    work (Windows, some network file systems), every `try_acquire` succeeds.

    Attributes:
        is_real: Whether the last `try_acquire` that succeeded keeps other processes out.
    """

    def __init__(self, path: str, *, flock: Flock = system_flock):
        """Open the folder; `flock` is what locks it."""
        self._path, self._flock = path, flock
        self._descriptor = -1
        self.is_real = False
        if sys.platform != "win32":
            self._descriptor = os.open(path, os.O_RDONLY)
            watch_forks(self)

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_exiting():  # else modules may be gone already, and the system closes it
            self.release()

    def try_acquire(self, *, shared: bool = False) -> bool:
        """Acquire the lock and return True, or return False if another process holds it. Never waits.

        Call again to change between shared and exclusive; a failed change loses the lock.
        """
        self.is_real = False
        try:
            self._flock(self._descriptor, shared)
            self.is_real = self._descriptor >= 0
        except BlockingIOError:
            return False
        except OSError:
            pass  # this file system has no locks
        return True

    def is_current(self) -> bool:
        """Return whether the path still names the locked folder: its previous owner may have removed it."""
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

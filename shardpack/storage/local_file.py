"""One local file: positional reads, hints to the kernel, memory maps.

The only place that uses special system calls (`pread`, `posix_fadvise`, `preadv` with RWF_NOWAIT). On systems
without them, plain reads do the same more slowly.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from shardpack.errors import ShardNotFoundError, StorageError
from shardpack.storage.base_store import raise_truncated
from shardpack.storage.buffer_pool import ExactBuffer
from shardpack.storage.file_map import NO_ROOM, map_file, map_with_mmap
from shardpack.storage.protocols import Version

_LOOK = "check the disk, and that this user may read the file"
_LARGE_BYTES = 64 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Without O_NONBLOCK, opening a pipe waits for a writer. Regular files ignore the flag.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def open_regular(path: str) -> int:
    """Return a descriptor to read a regular file; never waits.

    Raises:
        StorageError: The path is a folder, pipe, socket or device.
        OSError: The system refused.
    """
    descriptor = os.open(path, _READ_FLAGS)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise StorageError(f"cannot open {path!r}: expected a file, got {kind}; restore the file")
    return descriptor


class LocalFile:
    """One file, open for reading. Closed when it is dropped."""

    def __init__(self, full_path: str, name: str):
        self._name = name
        self._descriptor = -1
        self._is_in_memory = None if _HAS_HINTS else True  # whether all of it is; None: the system is asked each time
        try:
            self._descriptor = open_regular(full_path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ShardNotFoundError(
                f"a file of the dataset is missing: {full_path!r}; restore it, or pack again", path=name
            ) from error
        except StorageError as error:
            raise StorageError(error.args[0], path=name) from None
        except OSError as error:
            raise StorageError(f"cannot open {full_path!r}: {error.strerror}; {_LOOK}", path=name) from error

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_exiting():  # else modules may be gone already, and the system closes it
            self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def identity(self) -> tuple[int, ...]:
        """Return what distinguishes this file from a later one of the same name."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def version(self) -> Version:
        """Return what distinguishes these bytes from other content of this file, or of a later one of the same name."""
        status = os.fstat(self._descriptor)
        return Version(status.st_size, f"{status.st_ino:x}-{status.st_mtime_ns:x}")

    def read(self, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; raises if the file ends before."""
        if length > _LARGE_BYTES:
            return self._read_large(start, length)
        try:
            data = _pread(self._descriptor, length, start)
            while len(data) < length:  # a signal may interrupt a read
                more = _pread(self._descriptor, length - len(data), start + len(data))
                if not more:
                    raise_truncated(self._name, start, length, self.size())
                data += more
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}; {_LOOK}", path=self._name, offset=start) from error
        return data

    def _read_large(self, start: int, length: int) -> bytes:
        """Read a long range into one buffer: a single call reads at most 2 GiB."""
        if start + length > self.size():  # before allocating so much memory
            raise_truncated(self._name, start, length, self.size())
        buffer, got = ExactBuffer(length), 0
        try:
            while got < length:
                more = _pread_into(self._descriptor, buffer.view[got : got + _LARGE_BYTES], start + got)
                if not more:
                    raise_truncated(self._name, start, length, self.size())
                got += more
        except OSError as error:
            raise StorageError(f"cannot read: {error.strerror}; {_LOOK}", path=self._name, offset=start) from error
        return buffer.finish()

    def map(self) -> mmap.mmap | bytes:
        """Return a read-only map of the whole file, or b"" if it is empty, as empty files cannot be mapped."""
        size = self.size()
        try:
            return map_with_mmap(self._descriptor, size) if size else b""
        except (OSError, ValueError) as error:  # ValueError: truncated at this moment
            raise StorageError(f"cannot map: {error}; try again", path=self._name) from error

    def map_for_slices(self) -> Any | None:
        """Return a read-only map to slice; None if the file is empty or the system has no room for a map."""
        size = self.size()
        try:
            return map_file(self._descriptor, size) if size else None
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                return None
            raise StorageError(f"cannot map: {error}; try again", path=self._name) from error

    def prefetch(self, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """Let the kernel start reading the ranges whose first byte is not in the page cache.

        Probing first keeps a warm batch free of hints: a probe costs 0.6 us (2-core VM), a superfluous hint about
        as much, and both together more than the read.
        """
        if not _HAS_HINTS:
            return
        for start, length in zip(starts, lengths, strict=True):
            if length and not self.is_cached(start):  # to the kernel, length 0 means the rest of the file
                os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_WILLNEED)

    def is_cached(self, start: int) -> bool:
        """Return whether the byte at `start` exists and is in memory; where no system can tell, it is."""
        try:
            if self._is_in_memory is None:
                return os.preadv(self._descriptor, [bytearray(1)], start, os.RWF_NOWAIT) == 1  # 0 behind the end
            return self._is_in_memory and start < self.size()
        except OSError as error:  # EAGAIN: not in memory; a read tells whatever else is wrong
            if error.errno != errno.EOPNOTSUPP:
                return False
        # This file system cannot be asked. On a disk a needless hint does no harm; in memory a lost map does.
        self._is_in_memory = is_in_memory(os.fstat(self._descriptor).st_dev)
        return self.is_cached(start)


def is_in_memory(device: int, *, mounts: str = "/proc/self/mountinfo") -> bool:
    """Return whether the file system of a device number keeps its files in memory, as Linux says in `mounts`."""
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), open(mounts, encoding="utf-8", errors="replace") as lines:
        for line in lines:  # proc(5): "ID PARENT MAJOR:MINOR ... - KIND"
            mounted, _, kind = line.partition(" - ")
            if mounted.split()[2] == number:
                return kind.startswith(("tmpfs ", "ramfs "))
    return False


_HAS_HINTS = hasattr(os, "posix_fadvise") and hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")

if hasattr(os, "pread"):
    _pread = os.pread
else:  # Windows

    def _pread(descriptor: int, length: int, offset: int) -> bytes:
        # A duplicate descriptor would share the position, and Windows cannot reopen a file by its descriptor:
        # one lock keeps seek and read together.
        with _SEEK_LOCK:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, length)

    _SEEK_LOCK = threading.Lock()


if hasattr(os, "preadv"):

    def _pread_into(descriptor: int, view: memoryview, offset: int) -> int:
        return os.preadv(descriptor, [view], offset)

else:

    def _pread_into(descriptor: int, view: memoryview, offset: int) -> int:
        data = _pread(descriptor, len(view), offset)
        view[: len(data)] = data
        return len(data)


def start_writeback(descriptor: int, start: int, length: int) -> None:
    """Let the disk start writing a range, so that a later sync has little left to do.

    Packing 430 MB in shards of 64 MiB then waits 0.05 s for syncs instead of 0.25 s (ext4, 2-core VM).
    """
    if not _HAS_HINTS:
        return
    with suppress(OSError):  # a failed hint is not a failed write
        # Dirty pages are only queued for writing by this; clean ones may leave the page cache.
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def drop_from_cache(descriptor: int) -> bool:
    """Drop a file, after writing it to the disk, from the page cache; False if the system cannot do that."""
    if not _HAS_HINTS:
        return False
    os.fsync(descriptor)  # dirty pages stay
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return True

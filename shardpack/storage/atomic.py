"""Write files atomically: temporary name, sync, rename."""

from __future__ import annotations

import errno
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Any

from shardpack.errors import OutputExistsError, ShardpackError, StorageError
from shardpack.storage.local_file import start_writeback

_NO_LINKS = frozenset((errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EXDEV))
_LARGE_BYTES = 1 << 20  # the kernel collects smaller writes by itself
_TRIES_AT_ONCE, _TRIES_TO_MAKE = 10, 50  # a folder that others remove; the later ones a moment apart


@contextmanager
def storage_errors(
    action: str,
    *,
    then: str = "run the same command: it continues where it stopped",
    advice: Mapping[int, str] = MappingProxyType({}),
) -> Iterator[None]:
    """Turn an OSError into a StorageError that says what to do next.

    Args:
        action: What is attempted, for the message: "cannot <action>".
        then: What the user should do after removing the cause.
        advice: By `errno`: what to do instead of the usual advice.
    """
    try:
        yield
    except ShardpackError:
        raise  # some of them are OSErrors too
    except OSError as error:
        what_next = {
            errno.ENOSPC: f"free some space, then {then}",
            errno.EDQUOT: f"free some of the quota, then {then}",
            errno.EACCES: "choose another folder, or change its permissions",
            errno.EPERM: "choose another folder, or change its permissions",
            errno.EROFS: "choose another folder",
            errno.EEXIST: "choose another folder",
            errno.ENOTDIR: "choose another folder",
            **advice,
        }.get(error.errno or 0, f"repair it, then {then}")
        raise StorageError(f"cannot {action}: {error.strerror or error}; {what_next}") from error


class NewFile:
    """A file being written, front to back, under a temporary name. Closed when it is dropped.

    A forked child may close it, but never deletes it: the parent is still writing.
    """

    def __init__(self, path: str, *, expected_bytes: int = 0, mode: int = 0o644):
        """Create the file. An existing file of that name is unlinked, never written to.

        Args:
            path: The temporary name, in the folder of the final one.
            expected_bytes: Final length, if known: reserving it detects a full disk immediately
                and halves the time of the writes (ext4, 2-core VM).
            mode: Permissions, before the umask is applied.
        """
        self.path = path
        self._process = os.getpid()
        self._length = 0
        self._descriptor = -1  # for __del__, if opening fails
        self._descriptor = _open_new(path, mode)
        try:
            if expected_bytes and hasattr(os, "posix_fallocate"):
                self._reserve(expected_bytes)
        except BaseException:
            self.discard()
            raise

    def _reserve(self, num_bytes: int) -> None:
        try:
            os.posix_fallocate(self._descriptor, 0, num_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            # Some file systems cannot reserve space, but writing works.

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_exiting():  # else modules may be gone already, and the system closes it
            self.close()

    def write(self, data: Any) -> None:
        """Append all bytes of a buffer."""
        view = memoryview(data).cast("B")
        start, length = self._length, len(view)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._length += length
        if length >= _LARGE_BYTES:
            start_writeback(self._descriptor, start, length)

    def move_to(self, final_path: str, *, sync: bool = True) -> None:
        """Close the file and rename it to its final name; with `sync`, sync its bytes before."""
        if sync:
            self.sync()
        self.close()
        os.replace(self.path, final_path)

    def sync(self) -> None:
        """Sync the bytes to the disk, still under the temporary name."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def discard(self) -> None:
        """Close and delete the file."""
        self.close()
        if os.getpid() == self._process:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


def _open_new(path: str, mode: int) -> int:
    """Return a descriptor to write a new file: never an existing one, nor a pipe or link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, mode)
    except FileExistsError:  # left by a killed process with our process id
        os.unlink(path)
        return os.open(path, flags, mode)


def write_file(path: str, parts: Iterable[Any], *, temporary: str | None = None, sync: bool = True) -> None:
    """Write a file so that it is complete under its name, or does not exist.

    Args:
        path: Final name. A file of this name is replaced, not written into.
        parts: The contents, as buffers.
        temporary: Name while the file is written, in the same folder.
        sync: Whether to sync the contents first. Without, a power cut may leave a damaged file.
    """
    file = NewFile(temporary or f"{path}.{os.getpid()}.tmp")
    try:
        for part in parts:
            file.write(part)
        file.move_to(path, sync=sync)
    except BaseException:
        file.discard()
        raise


def create_file(path: str, parts: Iterable[Any], *, temporary: str | None = None) -> None:
    """Write a file under a name that is still free; of two concurrent writers one succeeds.

    Raises:
        OutputExistsError: The name is taken; its file is unchanged.
    """
    file = NewFile(temporary or f"{path}.{secrets.token_hex(4)}.tmp")
    try:
        for part in parts:
            file.write(part)
        file.sync()
        file.close()
        try:
            _link_or_claim(file.path, path)
        except FileExistsError as error:
            raise OutputExistsError(f"file exists: {path!r}; choose another name") from error
    finally:
        file.discard()


def _link_or_claim(temporary: str, path: str) -> None:
    """Give a file a second name, which must be free.

    Without hard links this cannot be atomic: an empty file claims the name first, and stays if the process is killed
    before the rename.
    """
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        os.replace(temporary, path)


def make_folder(path: str) -> None:
    """Create a folder and those above it unless they exist; another process may remove empty ones meanwhile."""
    for number in range(_TRIES_TO_MAKE):
        with suppress(FileExistsError, FileNotFoundError):  # removed between two steps of makedirs
            os.makedirs(path, exist_ok=True)
            return
        if number >= _TRIES_AT_ONCE:
            time.sleep(0.001)
    os.makedirs(path, exist_ok=True)


def fsync_file(path: str | os.PathLike[str]) -> None:
    """Sync the bytes of a file to the disk."""
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Sync the entries of a folder to the disk, if the system supports it."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

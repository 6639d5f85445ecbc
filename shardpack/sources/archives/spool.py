"""Unpack what cannot be read at random, such as a .tar.gz, into a local folder for as long as it is packed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from types import TracebackType

from shardpack.commit.scratch import ScratchDir, new_scratch
from shardpack.errors import SourceError
from shardpack.runtime.progress import Progress, no_progress
from shardpack.runtime.sizes import format_bytes
from shardpack.sources.archives.decompress import decompressed
from shardpack.storage.atomic import storage_errors
from shardpack.storage.local import LocalStore
from shardpack.storage.lock import FolderLock
from shardpack.storage.protocols import Store

LEFT_FREE_BYTES = 1 << 30  # of the disk, for whatever else needs it
LARGE_BYTES, MAX_LARGE_RATIO = 1 << 30, 200  # what grows so much is not a set of images, but a bomb


def _ignore(_: str) -> None:
    """Say nothing."""


class Spool:
    """A local folder of its own, made when something is unpacked, and deleted at the end, also after errors.

    What a killed process left is deleted when the next one makes its folder in the same place.
    """

    def __init__(
        self,
        parent: str | os.PathLike[str] | None = None,
        *,
        announce: Callable[[str], None] = _ignore,
        progress: Progress = no_progress,
        left_free_bytes: int = LEFT_FREE_BYTES,
    ) -> None:
        """Prepare a folder; nothing is made yet.

        Args:
            parent: The folder that it is made in; None for the system's temporary folder.
            announce: Told in one line what was unpacked, and how large it is.
            progress: Called with the phase "unpack" and compressed bytes.
            left_free_bytes: How much of the disk must stay free.
        """
        self._parent = None if parent is None else os.fspath(parent)
        self._announce, self._progress, self._left_free = announce, progress, left_free_bytes
        self._held: tuple[ScratchDir, FolderLock] | None = None
        self._count = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held is not None:
            folder, lock = self._held
            self._held = None
            folder.remove()
            lock.release()

    @property
    def used(self) -> bool:
        """Whether something was unpacked."""
        return self._held is not None

    def unpack(self, store: Store, path: str) -> tuple[Store, str]:
        """Return what a compressed file holds as a local file: its store, and its path there.

        Raises:
            SourceError: It is damaged, grows beyond reason, or does not fit on the disk.
            StorageError: The disk refused.
        """
        with storage_errors(f"write to {self._parent or 'the temporary folder'!r}"):
            if self._held is None:
                self._held = new_scratch(self._parent)
            folder = self._held[0].path
            name = f"{self._count:06d}.tar"
            self._count += 1
            size = store.size(path)
            written = self._write(store, path, size, os.path.join(folder, name))
        self._announce(
            f"unpacked {path} for as long as it is packed: {format_bytes(size)} compressed, "
            f"{format_bytes(written)} in {os.path.dirname(folder)}"
        )
        return LocalStore(folder), name

    def _write(self, store: Store, path: str, size: int, target: str) -> int:
        read = written = 0

        def advance(num_bytes: int) -> None:
            nonlocal read
            read += num_bytes
            self._progress("unpack", read, size)

        self._check_room(path, target, size)
        with open(target, "xb", buffering=0) as file:
            for piece in decompressed(store, path, advance=advance):
                written += len(piece)
                if written > LARGE_BYTES and written > MAX_LARGE_RATIO * size:
                    raise SourceError(
                        f"it holds more than {MAX_LARGE_RATIO} times its {format_bytes(size)}, as no images do; "
                        "unpack it yourself, and pack the folder",
                        path=path,
                    )
                self._check_room(path, target, len(piece))
                view = memoryview(piece)
                while view:
                    view = view[file.write(view) :]
        return written

    def _check_room(self, path: str, target: str, num_bytes: int) -> None:
        folder = os.path.dirname(target)
        free = shutil.disk_usage(folder).free - self._left_free
        if num_bytes > free:
            raise SourceError(
                f"unpacked, it does not fit: {format_bytes(max(free, 0))} may be used in {os.path.dirname(folder)!r}; "
                "choose another folder with work_dir (--work-dir)",
                path=path,
            )

"""What a transaction requires of the place that a dataset is written to. `open_target.py` opens one of two kinds.

folder_target.py   shards are made in the work folder, synced and renamed; a lock keeps other processes out
bucket_target.py   shards are made in a local scratch folder and uploaded; the lease tells which process began last

Everything else about a transaction is the same for both (`transaction.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from shardpack.commit.scratch import ScratchDir
from shardpack.storage.lock import FolderLock


class Target(Protocol):
    """The place that a dataset is written to. Names are those of the dataset's files, separated by "/"."""

    @property
    def location(self) -> str:
        """Folder or URL, without secrets."""
        ...

    @property
    def moves_files(self) -> bool:
        """Whether `put_file` moves the file; otherwise it copies the file and leaves it in place."""
        ...

    @property
    def can_create(self) -> bool:
        """Whether of two processes that `create` one name only one succeeds."""
        ...

    def opener(self) -> Callable[[], Target]:
        """Return a function that opens the same target as shared on another machine; it pickles, without secrets."""
        ...

    @property
    def scratch(self) -> ScratchDir:
        """The local folder where shards are made; exists from its first use until `drop_scratch`."""
        ...

    def clear_scratch(self) -> None:
        """Delete what killed runs left there, but for what edits keep; only for the one process that may write."""
        ...

    def drop_scratch(self) -> None:
        """Delete what this process is writing there, and no file of another process. Safe to call twice."""
        ...

    def lock(self) -> FolderLock | None:
        """Create the work folder and return its lock; None if there are no locks.

        It is held exclusively, or by several processes if these write here by agreement.

        Raises:
            OutputExistsError: Another process holds the lock, and did not release it within a second.
        """
        ...

    def refresh(self) -> None:
        """List the target again; from now on only this process writes, or others that agree with it."""
        ...

    def names(self) -> Collection[str]:
        """Return the names of the files here: the tars and everything in the dot-folder."""
        ...

    def names_below(self, folder: str) -> list[str]:
        """Return the names of the files in a folder of the target; costs as much as that holds, where possible."""
        ...

    def size(self, name: str) -> int | None:
        """Return a file's length; None if nothing has this name, -1 if it is not a file."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if it does not exist."""
        ...

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write a file atomically, replacing any file of that name."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Write a small file atomically that other processes may be replacing at this moment; not verified."""
        ...

    def put_unsynced(self, name: str, data: bytes) -> None:
        """Write a small file without syncing: after a power cut it may be missing or corrupt."""
        ...

    def create(self, name: str, parts: Iterable[Any]) -> None:
        """Write a small file under a name that is still free.

        Raises:
            OutputExistsError: The name is taken; its file is unchanged.
        """
        ...

    def put_file(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:
        """Move or upload a finished local file to `name`, durably.

        Args:
            name: Its name here.
            path: The local file, in `scratch` unless files are copied.
            num_bytes, crc32c: Its expected length and CRC32C, compared if the file is copied.

        Raises:
            CorruptShardError: The local file differs.
        """
        ...

    def add(self, names: Iterable[str]) -> None:
        """Take note of files that another process wrote here by agreement."""
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that exist, the first one before all others."""
        ...

    def fsync(self) -> None:
        """Return once everything written would survive a power cut."""
        ...


@contextmanager
def locked(target: Target) -> Iterator[None]:
    """Keep other processes out where there are locks; afterwards nothing of ours is left in the work folder.

    Raises:
        OutputExistsError: Another process holds the lock, as in `Target.lock`.
    """
    lock = target.lock()
    try:
        yield
    finally:
        target.drop_scratch()
        if lock is not None:
            lock.release()

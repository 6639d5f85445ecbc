"""What a target must offer for a dataset to appear there. `open_target.py` finds out which of two kinds a location is.

folder.py   shards are made in its work folder, synced and renamed; a lock keeps others out
bucket.py   shards are made in a local scratch folder and uploaded; the lease object tells who began last

All else about a transaction is the same in both (`transaction.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Protocol

from shardpack.commit.scratch import ScratchDir
from shardpack.storage.lock import FolderLock


class Target(Protocol):
    """Where a dataset is written to. Names are those of the dataset's files, parted by "/"."""

    @property
    def location(self) -> str:
        """Where this is, for people: without secrets."""
        ...

    @property
    def moves_files(self) -> bool:
        """Whether `place` moves the file; if not, it copies it and leaves it where it is."""
        ...

    @property
    def scratch(self) -> ScratchDir:
        """Where shards are made; there from the first time it is asked for until `drop_scratch`."""
        ...

    def clear_scratch(self) -> None:
        """Delete what killed runs have left there: nobody else writes from now on."""
        ...

    def drop_scratch(self) -> None:
        """Delete what this process is writing there, and nothing of anybody else. Safe to call twice."""
        ...

    def lock(self) -> FolderLock | None:
        """Make the work folder and return its lock, held by nobody else; None where there are no locks.

        Raises:
            OutputExistsError: Another process holds it, and goes on holding it for a second.
        """
        ...

    def refresh(self) -> None:
        """Look anew at what is there: nobody else writes from now on."""
        ...

    def names(self) -> Collection[str]:
        """Return the names of what is here, beside the tars and in the work folder."""
        ...

    def size(self, name: str) -> int | None:
        """Return a file's length; None if there is nothing of this name, -1 for what is no file."""
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's bytes, or None if there is no such file."""
        ...

    def put(self, name: str, parts: Iterable[Any]) -> None:
        """Write a file that is whole under its name, or not there; replaces what was there."""
        ...

    def put_unsynced(self, name: str, data: bytes) -> None:
        """Write a small file as `put` does; a power cut may take it, or leave anything in its stead."""
        ...

    def create(self, name: str, parts: Iterable[Any]) -> None:
        """Write a small file whose name is not taken.

        Raises:
            OutputExistsError: It is taken, and what has it is as it was.
        """
        ...

    def put_file(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:
        """Give a local file its name here, in full and to last.

        Args:
            name: Its name.
            path: Where it is: in `scratch`, unless files are copied here.
            num_bytes, crc32c: What it must be; a copy is compared with it.

        Raises:
            CorruptShardError: The local file is something else.
        """
        ...

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, the first before all others, as far as they are there."""
        ...

    def fsync(self) -> None:
        """Return when what was written would survive a power cut."""
        ...

"""What a place must offer for a dataset to appear there, and which of the two kinds a location is.

folder.py   shards are made in its work folder, synced and renamed; a lock keeps others out
bucket.py   shards are made in a local scratch folder and uploaded; the lease object tells who began last

All else about a transaction is the same in both (`transaction.py`).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from shardpack.commit.bucket import BucketTarget
from shardpack.commit.folder import FolderTarget
from shardpack.commit.scratch import ScratchDir
from shardpack.errors import OptionError
from shardpack.storage.lock import FolderLock
from shardpack.storage.open import open_store
from shardpack.storage.protocols import WritableStore
from shardpack.storage.url import WEB_SCHEMES


class Target(Protocol):
    """A place that a dataset is written to. Names are those of the dataset's files, parted by "/"."""

    @property
    def location(self) -> str:
        """Where this is, for people: without secrets."""
        ...

    @property
    def takes_files(self) -> bool:
        """Whether `place` moves the file; if not, it copies it and leaves it where it is."""
        ...

    @property
    def scratch(self) -> ScratchDir:
        """Where shards are made; there from the first time it is asked for until `drop_scratch`."""
        ...

    def drop_scratch(self) -> None:
        """Delete what is being written there. Safe to call twice."""
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

    def note(self, name: str, data: bytes) -> None:
        """Write a small file as `put` does; a power cut may take it, or leave anything in its place."""
        ...

    def create(self, name: str, parts: Iterable[Any]) -> None:
        """Write a small file whose name is not taken.

        Raises:
            OutputExistsError: It is taken, and what has it is as it was.
        """
        ...

    def place(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:
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


def open_target(
    location: str | os.PathLike[str] | WritableStore,
    storage_options: Mapping[str, Any] | None = None,
    *,
    scratch_dir: str | os.PathLike[str] | None = None,
) -> Target:
    """Return the place at a location, or that a store is; asks nothing of it yet.

    Raises:
        OptionError: It is no place to write to, or an option makes no sense there.
    """
    if isinstance(location, (str, os.PathLike)):
        location = open_store(location, storage_options)
    elif storage_options:
        raise OptionError("storage_options are for URLs; a store has its own")
    return target_of(location, scratch_dir=scratch_dir)


def target_of(
    store: WritableStore, *, scratch_dir: str | os.PathLike[str] | None = None, needs_list: bool = True
) -> Target:
    """Return a store as a place to write to.

    Args:
        store: Of a folder, a bucket, or memory.
        scratch_dir: Where to make shards for a bucket; None takes the system's temporary folder.
        needs_list: Whether a bucket whose objects may not be listed is refused, or taken for empty.

    Raises:
        OptionError: It is no place to write to, or an option makes no sense there.
    """
    if store.folder is not None:
        if scratch_dir is not None:
            raise OptionError("work_dir is for buckets; in a folder shards are made where they belong")
        return FolderTarget(store.location)
    if store.location.partition("://")[0] in WEB_SCHEMES:
        raise OptionError(f"cannot write to {store.location!r}: a web server takes no files; name a folder or a bucket")
    return BucketTarget(store, None if scratch_dir is None else os.fspath(scratch_dir), needs_list=needs_list)

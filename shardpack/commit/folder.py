"""A folder as the place of a dataset: temporary names, syncs and renames, under a lock that ends with its holder.

OUT/.shardpack/shard-000003.tar.<pid>.tmp      being written; for the rest see `output.py`
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shardpack.commit.target import (
    MARK_NAME,
    DatasetOutput,
    flat_name,
    journal_entry,
    journal_name,
)
from shardpack.format.assemble import encode_shard
from shardpack.format.manifest import WORK_FOLDER, ShardInfo
from shardpack.format.shard_index import ShardIndex
from shardpack.storage.atomic import NewFile, sync_folder, write_file
from shardpack.storage.lock import FolderLock


@dataclass(frozen=True, slots=True)
class Output(DatasetOutput):
    """The folder a dataset is packed into. Whoever writes holds the lock of its work folder."""

    path: str

    @property
    def location(self) -> str:
        return self.path

    @property
    def workplace(self) -> Output:
        """The folder itself: shards are made where they will be."""
        return self

    def join(self, *names: str) -> str:
        return os.path.join(self.path, *names)

    def prepare(self) -> None:
        os.makedirs(self.path, exist_ok=True)

    def has_work_folder(self) -> bool:
        return os.path.isdir(self.join(WORK_FOLDER))

    def lock(self) -> FolderLock:
        """Return the lock of the work folder, not yet taken; makes the folder."""
        while True:
            os.makedirs(self.join(WORK_FOLDER), exist_ok=True)
            with suppress(FileNotFoundError):  # its last owner removed it just now
                return FolderLock(self.join(WORK_FOLDER))

    def share(self) -> FolderLock:
        """See `Workplace.share`."""
        lock = FolderLock(self.join(WORK_FOLDER))
        if not lock.take(shared=True):  # this worker's parent was killed, and another packer is there
            raise self.busy()
        return lock

    def sweep(self) -> None:
        """Delete what a packer was writing when it ended."""
        for name in _listed(self.join(WORK_FOLDER)):
            if name.endswith(".tmp"):
                os.unlink(self.join(WORK_FOLDER, name))

    def names(self) -> list[str]:
        """See `DatasetOutput.names`; without those in folders below."""
        return [*_listed(self.path), *(f"{WORK_FOLDER}/{name}" for name in _listed(self.join(WORK_FOLDER)))]

    def read(self, name: str) -> bytes | None:
        """See `DatasetOutput.read`; None also for a file that cannot be read."""
        try:
            with open(self.join(name), "rb") as file:
                return file.read()
        except OSError:
            return None

    def size(self, name: str) -> int | None:
        try:
            return os.path.getsize(self.join(name))
        except OSError:
            return None

    def write(self, name: str, parts: Iterable[Any]) -> None:
        write_file(self.join(name), parts, temporary=self._temporary(os.path.basename(name)))

    def settle(self) -> None:
        sync_folder(self.path)

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))

    def new_shard(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """See `Workplace.new_shard`."""
        return NewFile(self._temporary(flat_name(name)), expected_bytes=expected_bytes)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex, made_of: str) -> ShardInfo:
        """Publish a written shard with its index and its journal entry."""
        info, parts = encode_shard(name, index)
        file.sync()
        self.write(journal_name(name), [journal_entry(info, made_of)])
        self.write(info.index_name, parts)
        file.publish(self.join(name))
        self.settle()
        return info

    def finish_copy(self, info: ShardInfo, file: NewFile, index: NewFile, made_of: str) -> None:
        """Publish a shard and its index, both written as they are elsewhere, with a journal entry."""
        folder = os.path.dirname(self.join(info.name))
        os.makedirs(folder, exist_ok=True)
        file.sync()
        self.write(journal_name(info.name), [journal_entry(info, made_of)])
        index.publish(self.join(info.index_name))
        file.publish(self.join(info.name))
        sync_folder(folder)

    def remove_work_folder(self) -> None:
        """Delete the work folder, its mark last."""
        mark = os.path.basename(MARK_NAME)
        names = os.listdir(self.join(WORK_FOLDER))
        self.delete(os.path.join(WORK_FOLDER, name) for name in names if name != mark)
        shutil.rmtree(self.join(WORK_FOLDER))

    def delivery(self, jobs: int) -> InPlace:  # noqa: ARG002 - the same for any number
        return InPlace()

    def _temporary(self, name: str) -> str:
        return self.join(WORK_FOLDER, f"{name}.{os.getpid()}.tmp")


class InPlace:
    """The delivery of shards that are made where they belong. See `Delivery`."""

    def __init__(self) -> None:
        self._arrived: list[ShardInfo] = []

    def __enter__(self) -> InPlace:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def acquire(self) -> bool:
        return True

    def close(self) -> None:
        return None

    def submit(self, info: ShardInfo, made_of: str) -> None:  # noqa: ARG002 - the worker has written it down
        self._arrived.append(info)

    def arrived(self) -> list[ShardInfo]:
        arrived, self._arrived = self._arrived, []
        return arrived

    def rest(self) -> Iterator[ShardInfo]:
        yield from self.arrived()


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []

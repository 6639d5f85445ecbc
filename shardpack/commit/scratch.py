"""The local folder where shards are made: the work folder of a folder target, or a temporary one for a bucket.

<work_dir>/shardpack-<host>-<pid>-xxxx/     for a bucket: locked while a process uses it, then deleted
    shard-000003.tar.<pid>.tmp                 being written
    shard-000003.tar, .index                   finished, waiting for their upload
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64_hexdigest

from shardpack.errors import OutputExistsError
from shardpack.format.assemble import encode_shard
from shardpack.format.shard_index import ShardIndex
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.atomic import NewFile, make_folder
from shardpack.storage.lock import FolderLock

_TRIES = 10  # to make a folder and lock it, before others remove it
_MAX_NAME_BYTES = 200  # per file, leaving room for a suffix; file systems allow 255


@dataclass(frozen=True, slots=True)
class ScratchDir:
    """A scratch folder; all that workers know of the target. Pickles.

    Attributes:
        path: The folder.
        owner: Prefix of this process's files, in a folder that several processes may write to.
    """

    path: str
    owner: str = ""

    def join(self, name: str) -> str:
        """Return the local path of a file of the dataset while it is here."""
        return os.path.join(self.path, f"{self.owner}-{flat_name(name)}" if self.owner else flat_name(name))

    def paths(self) -> list[str]:
        """Return the files of this owner."""
        own = f"{self.owner}-" if self.owner else ""
        with suppress(FileNotFoundError):
            return [os.path.join(self.path, name) for name in os.listdir(self.path) if name.startswith(own)]
        return []

    def share(self) -> FolderLock:
        """Return the lock under which a worker writes, shared with its parent and the other workers.

        Raises:
            OutputExistsError: The parent was killed, and another run is cleaning up.
        """
        lock = FolderLock(self.path)
        if not lock.try_acquire(shared=True):
            raise OutputExistsError(f"another process has taken over {self.path!r}; run the same command again")
        return lock

    def new_file(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """Return a new file, open for writing under a temporary name that no other process uses."""
        return NewFile(f"{self.join(name)}.{os.getpid()}.tmp", expected_bytes=expected_bytes)

    def finish_file(self, name: str, file: NewFile) -> None:
        """Close a file and give it its name here; not synced: after a power cut it is made again."""
        file.move_to(self.join(name), sync=False)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex) -> ShardInfo:
        """Close a shard, give it its name here, write its index, and return its description."""
        info, parts = encode_shard(name, index)
        with open(self.join(info.index_path), "wb") as index_file:
            index_file.writelines(parts)
        self.finish_file(name, file)
        return info

    def files(self, info: ShardInfo) -> tuple[Path, Path]:
        """Return the paths of a shard and its index."""
        return Path(self.join(info.name)), Path(self.join(info.index_path))

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that exist."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))

    def remove(self) -> None:
        """Delete the folder, with the files of all owners."""
        shutil.rmtree(self.path, ignore_errors=True)


def flat_name(name: str) -> str:
    """Return `name` escaped to one file name: unique per name, unchanged for packer shards."""
    flat = name.replace("%", "%25").replace("/", "%2F")
    data = flat.encode("utf-8", "surrogateescape")
    if len(data) <= _MAX_NAME_BYTES:
        return flat
    return f"%{xxh3_64_hexdigest(data)}{os.path.splitext(name)[1][:16]}"


def new_scratch(parent: str | None) -> tuple[ScratchDir, FolderLock]:
    """Return a new folder and its lock, after removing the folders of killed processes.

    Args:
        parent: Folder to create it in; None for the system's temporary folder.
    """
    parent = parent or tempfile.gettempdir()
    tries = 0
    while True:
        tries += 1
        try:
            if found := _new_locked(parent):
                return found
        except FileNotFoundError:  # another process removed the parent while it was empty
            if tries >= _TRIES:
                raise


def _new_locked(parent: str) -> tuple[ScratchDir, FolderLock] | None:
    """Return a new folder and its lock; None if it was taken for abandoned before it was locked."""
    make_folder(parent)
    _remove_abandoned(parent)
    path = tempfile.mkdtemp(prefix=f"{own_prefix()}{os.getpid()}-", dir=parent)
    lock = FolderLock(path)
    if lock.try_acquire(shared=True) and lock.is_current():
        return ScratchDir(path), lock
    lock.release()
    return None


def own_prefix() -> str:
    """Return the prefix of all scratch folders of this machine."""
    return f"shardpack-{re.sub('[^A-Za-z0-9.]', '_', platform.node())}-"


def _remove_abandoned(parent: str) -> None:
    """Remove the folders that killed processes of this machine left."""
    if os.name == "nt":
        return  # without locks a used folder looks like an abandoned one
    mine = re.compile(re.escape(own_prefix()) + r"(\d+)-\w+")
    for name in os.listdir(parent):
        match = mine.fullmatch(name)
        path = os.path.join(parent, name)
        if not match or _is_alive(int(match[1])) or os.path.islink(path):
            continue
        with suppress(OSError), FolderLock(path) as lock:
            if lock.try_acquire():
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

"""The local folder where shards are made: a folder target's work folder, or one of its own for a bucket.

<work_dir>/shardpack-<host>-<pid>-xxxx/     of a bucket: locked until its last user has ended, and gone with it
    shard-000003.tar.<pid>.tmp                 being written
    shard-000003.tar, .index                   made, on the way to the target
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
from shardpack.storage.atomic import NewFile
from shardpack.storage.lock import FolderLock

_MAX_NAME_BYTES = 200  # of a file, with room for an ending; file systems take 255


@dataclass(frozen=True, slots=True)
class ScratchDir:
    """The folder. Workers get it, and nothing of the target. Pickles."""

    path: str
    owner: str = ""  # where several may write to one folder: what the names of this one's files begin with

    def join(self, name: str) -> str:
        """Return where a file of the dataset is, as long as it is here."""
        return os.path.join(self.path, f"{self.owner}-{flat_name(name)}" if self.owner else flat_name(name))

    def paths(self) -> list[str]:
        """Return the files that are here, of this owner."""
        own = f"{self.owner}-" if self.owner else ""
        with suppress(FileNotFoundError):
            return [os.path.join(self.path, name) for name in os.listdir(self.path) if name.startswith(own)]
        return []

    def share(self) -> FolderLock:
        """Return the lock under which a worker writes, which it shares with its parent and the others.

        Raises:
            OutputExistsError: The parent was killed, and the next run is cleaning up.
        """
        lock = FolderLock(self.path)
        if not lock.take(shared=True):
            raise OutputExistsError(f"another process has taken over {self.path!r}; run the same command again")
        return lock

    def new_file(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        """Open a file for writing under a temporary name that no other process uses."""
        return NewFile(f"{self.join(name)}.{os.getpid()}.tmp", expected_bytes=expected_bytes)

    def finish_file(self, name: str, file: NewFile) -> None:
        """Give a file that is written its name here; not synced: what is lost with the power is made again."""
        file.move_to(self.join(name), sync=False)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex) -> ShardInfo:
        """Give a shard that is written its name here, and write its index; return what it is."""
        info, parts = encode_shard(name, index)
        with open(self.join(info.index_path), "wb") as index_file:
            index_file.writelines(parts)
        self.finish_file(name, file)
        return info

    def files(self, info: ShardInfo) -> tuple[Path, Path]:
        """Return where a shard and its index are."""
        return Path(self.join(info.name)), Path(self.join(info.index_path))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, as far as they are there."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))

    def remove(self) -> None:
        """Delete the folder, whoever's files are in it."""
        shutil.rmtree(self.path, ignore_errors=True)


def flat_name(name: str) -> str:
    """Return a name as one of a file, different for different names; that of a packer's shard as it is."""
    flat = name.replace("%", "%25").replace("/", "%2F")
    data = flat.encode("utf-8", "surrogateescape")
    if len(data) <= _MAX_NAME_BYTES:
        return flat
    return f"%{xxh3_64_hexdigest(data)}{os.path.splitext(name)[1][:16]}"


def new_scratch(parent: str | None) -> tuple[ScratchDir, FolderLock]:
    """Return a new folder with its lock; those of killed processes are removed first.

    Args:
        parent: Where to make it; None for the system's temporary folder.
    """
    parent = parent or tempfile.gettempdir()
    os.makedirs(parent, exist_ok=True)
    _remove_abandoned(parent)
    while True:
        path = tempfile.mkdtemp(prefix=f"{own_prefix()}{os.getpid()}-", dir=parent)
        with suppress(FileNotFoundError):  # another process took it for abandoned, in the moment before the lock
            lock = FolderLock(path)
            if lock.take(shared=True) and lock.is_current():
                return ScratchDir(path), lock
            lock.release()


def own_prefix() -> str:
    """Return what the names of all scratch folders of this machine begin with."""
    return f"shardpack-{re.sub('[^A-Za-z0-9.]', '_', platform.node())}-"


def _remove_abandoned(parent: str) -> None:
    """Remove the folders of processes of this machine that have ended without removing them."""
    if os.name == "nt":
        return  # no lock tells that nobody is there
    mine = re.compile(re.escape(own_prefix()) + r"(\d+)-\w+")
    for name in os.listdir(parent):
        match = mine.fullmatch(name)
        path = os.path.join(parent, name)
        if not match or _is_alive(int(match[1])) or os.path.islink(path):
            continue
        with suppress(OSError), FolderLock(path) as lock:
            if lock.take():
                shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

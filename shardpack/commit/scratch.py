"""A local folder where shards for a bucket are made: one a run, gone with it, also when the run was killed.

<work_dir>/shardpack-<host>-<pid>-xxxx/     locked by the packer and its workers, until the last of them has ended
    shard-000003.tar, .index                finished here, on the way to the bucket
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

from shardpack.commit.target import flat_name
from shardpack.errors import OutputExistsError
from shardpack.format.assemble import encode_shard
from shardpack.format.manifest import ShardInfo, index_name
from shardpack.format.shard_index import ShardIndex
from shardpack.storage.atomic import NewFile
from shardpack.storage.lock import FolderLock


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder. Workers get it, and nothing of the bucket. See `Workplace`."""

    path: str

    def join(self, *names: str) -> str:
        return os.path.join(self.path, *map(flat_name, names))

    def share(self) -> FolderLock:
        lock = FolderLock(self.path)
        if not lock.take(shared=True):  # this worker's parent was killed, and the next packer tidies up
            raise OutputExistsError(f"another process is removing {self.path!r}; run the same command again")
        return lock

    def new_shard(self, name: str, *, expected_bytes: int = 0) -> NewFile:
        return NewFile(f"{self.join(name)}.{os.getpid()}.tmp", expected_bytes=expected_bytes)

    def finish_shard(self, name: str, file: NewFile, index: ShardIndex, made_of: str) -> ShardInfo:  # noqa: ARG002
        """Give a shard its name, and its index; not synced, as a power cut leaves nothing worth keeping here."""
        info, parts = encode_shard(name, index)
        with open(self.join(index_name(name)), "wb") as index_file:
            index_file.writelines(parts)
        self.finish_file(name, file)
        return info

    def finish_file(self, name: str, file: NewFile) -> None:
        """Give a file its name."""
        file.close()
        os.replace(file.path, self.join(name))

    def delete(self, names: Iterable[str]) -> None:
        """Delete files, as far as they are there."""
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(self.join(name))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def new_staging(work_dir: str | None) -> tuple[Staging, FolderLock]:
    """Return a new folder with its lock; those of killed packers are removed first.

    Args:
        work_dir: Where to make it; None for the system's temporary folder.
    """
    parent = work_dir or tempfile.gettempdir()
    os.makedirs(parent, exist_ok=True)
    _remove_abandoned(parent)
    while True:
        path = tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=parent)
        with suppress(FileNotFoundError):  # another packer took it for abandoned, in the moment before the lock
            lock = FolderLock(path)
            if lock.take(shared=True) and lock.is_current():
                return Staging(path), lock
            lock.release()


def _prefix() -> str:
    return f"shardpack-{re.sub('[^A-Za-z0-9.]', '_', platform.node())}-"


def _remove_abandoned(parent: str) -> None:
    """Remove the folders of packers of this machine that have ended without removing them."""
    if os.name == "nt":
        return  # no lock tells that nobody is there
    mine = re.compile(re.escape(_prefix()) + r"(\d+)-\w+")
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

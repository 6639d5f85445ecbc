"""The target of a transaction as a worker on another machine sees it: it makes a shard there, and delivers it.

    caller: transaction.destination() --pickled with the task--> worker: make, upload, verify, delete
    caller: transaction.record(info)  <------what was made------

A destination holds no secret (`storage/secret_options.py`): the worker's store finds credentials in its environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shardpack.commit.lease import LEASE_NAME, busy
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.format.layout import WORK_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.atomic import storage_errors

Opener = Callable[[], Target]  # picklable

_opened: list[tuple[bytes, Target]] = []  # lease and target, at most one: a worker makes shards one after another


@dataclass(frozen=True, slots=True)
class Destination:
    """Where shards are delivered to, from any machine. Pickles.

    Attributes:
        opener: Opens the target as shared.
        lease: The text of the lease under which shards may be delivered.
    """

    opener: Opener
    lease: bytes

    @contextmanager
    def scratch(self) -> Iterator[ScratchDir]:
        """Yield a folder of this machine, or one in the target's folder, to make shards in."""
        target = self._target()
        try:
            yield target.scratch
        finally:
            target.drop_scratch()

    def deliver(self, info: ShardInfo) -> None:
        """Move or upload the tar and index of a shard that was made in the scratch folder.

        Raises:
            CorruptShardError: A local file differs from `info`.
            OutputExistsError: Another process began writing there.
            StorageError: The target refused.
        """
        target = self._target()
        tar, index = target.scratch.files(info)
        with storage_errors(f"write to {target.location!r}"):
            if not self.is_visible():
                raise busy(target.location)
            target.put_file(info.index_path, index, num_bytes=info.index_bytes, crc32c=info.index_crc32c)
            target.put_file(info.name, tar, num_bytes=info.num_bytes, crc32c=info.crc32c)
            target.fsync()
            target.scratch.delete([info.name, info.index_path])

    def is_visible(self) -> bool:
        """Return whether this machine sees the lease."""
        return self._target().read(LEASE_NAME) == self.lease

    def leave_mark(self, name: str) -> None:
        """Write a file of this name to the work folder, for the caller to find."""
        self._target().put(f"{WORK_FOLDER}/{name}", [self.lease])

    def _target(self) -> Target:
        """Return the target; it is opened once, since it learns about its bucket."""
        if not _opened or _opened[0][0] != self.lease:
            _opened[:] = [(self.lease, self.opener())]
        return _opened[0][1]


def take_mark(target: Target, name: str) -> bool:
    """Return whether there is a mark of this name, and delete it."""
    path, shared = f"{WORK_FOLDER}/{name}", target.opener()()
    if shared.size(path) is None:
        return False
    shared.delete([path])
    return True

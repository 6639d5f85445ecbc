"""What all transactions do with the shards that are made for them: queues, journal entries and notes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from shardpack.commit.delivery_queue import (
    DELIVERIES_BY_MOVE,
    DELIVERIES_BY_UPLOAD,
    RECORDS_AT_ONCE,
    Delivered,
    DeliveryQueue,
)
from shardpack.commit.destination import Destination, take_mark
from shardpack.commit.journal import Entry, Journal
from shardpack.commit.lease import Command, Lease, how_to_continue
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError, StorageError
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.atomic import storage_errors


class Delivering(ABC):
    """The part of a transaction that workers' results pass through.

    Args:
        target: Where the dataset is written.
        journal: Where finished shards are recorded.
        command: Named in errors, with how it is continued.
    """

    def __init__(self, target: Target, journal: Journal, command: Command) -> None:
        self._target, self._journal, self._command = target, journal, command
        self._lease: Lease | None = None  # while the target is held
        self._is_lost = False

    @property
    def location(self) -> str:
        """Folder or URL of the target, without secrets."""
        return self._target.location

    @property
    def scratch(self) -> ScratchDir:
        """The local folder where shards are made before they are delivered."""
        return self._target.scratch

    def write_errors(self) -> AbstractContextManager[None]:
        """Return a context in which errors of the system become StorageErrors that say how to continue."""
        return storage_errors(f"write to {self._target.location!r}", then=how_to_continue(self._command))

    def check(self) -> None:
        """Raise OutputExistsError if another process began writing here, or the work folder is gone; remember that."""
        assert self._lease is not None
        try:
            self._lease.check()
        except OutputExistsError:
            self._is_lost = True
            raise

    def withdraw_if_lost(self) -> None:
        """Delete our journal entries if another process has taken over: that process may have ended already."""
        if self._is_lost:
            with suppress(StorageError):
                self._journal.withdraw()

    def finished(self, name: str, input_digest: str) -> Entry | None:
        """Return the entry of a shard that was finished from the same input, or None."""
        return self._journal.finished(name, input_digest)

    @abstractmethod
    def deliver(self, info: ShardInfo, input_digest: str) -> None:
        """Move or upload a shard's index and tar to the target, and write its journal entry. Safe in threads.

        Raises:
            CorruptShardError: A local file differs from `info`.
            OutputExistsError: The work folder is gone, or another process began writing here.
            StorageError: The target refused.
        """

    @abstractmethod
    def read_index(self, name: str) -> bytes:
        """Return the index file of a shard that was delivered."""

    def destination(self) -> Destination:
        """Return the target for workers on other machines, which deliver there what they make."""
        assert self._lease is not None
        return Destination(self._target.opener(), self._lease.text)

    def has_mark(self, name: str) -> bool:
        """Return whether a worker left a mark of this name (`Destination.leave_mark`), and delete it."""
        return take_mark(self._target, name)

    def record(self, info: ShardInfo, input_digest: str) -> None:
        """Write the journal entry of a shard that a worker has delivered. Safe in threads. Raises as `check`."""
        with self.write_errors():
            self.check()
            self._target.add([info.index_path, info.name])
            self._journal.add(Entry(info, input_digest))

    def record_queue(self) -> DeliveryQueue[ShardInfo]:
        """Return a queue that records shards in threads."""
        return DeliveryQueue(self.record, max_shards=RECORDS_AT_ONCE)

    def delivery_queue(self, jobs: int) -> DeliveryQueue[ShardInfo]:
        """Return a queue that delivers shards in threads while `jobs` others are being made."""
        return self.queue_for(self.deliver, jobs)

    def queue_for(self, deliver: Callable[[Delivered, str], None], jobs: int) -> DeliveryQueue[Delivered]:
        """Return a queue that delivers with this function, which calls `deliver` once for each shard."""
        deliveries = DELIVERIES_BY_MOVE if self._target.moves_files else DELIVERIES_BY_UPLOAD
        return DeliveryQueue(deliver, max_shards=jobs + deliveries)

    # Notes: JSON values that the same command, or another part, needs when it continues

    def note(self, name: str) -> Mapping[str, Any] | None:
        """Return a note, or None."""
        return self._journal.note(name)

    def put_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a note in the work folder, deleted with it at the end. Safe in threads. Raises as `check`."""
        self.check()
        self._journal.put_note(name, value)

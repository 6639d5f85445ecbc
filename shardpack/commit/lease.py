"""The lease on a target: one process at a time may write, and its name is in the work folder.

OUT/.shardpack/tmp/lease.json     {"command": "pack", "owner": "5f3a..."}

In a folder a lock keeps a second process out. Buckets and some network file systems have no locks: there the process
that began last continues, and any other stops before its next write, as the lease names another owner.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from typing import Literal

from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError
from shardpack.format.layout import WORK_FOLDER
from shardpack.storage.lock import FolderLock

LEASE_NAME = f"{WORK_FOLDER}/lease.json"

Command = Literal["pack", "write", "copy", "index"]  # "write" is a ShardWriter


class Lease:
    """The right to write to a target until it is released. Only for the process that acquired it."""

    def __init__(self, target: Target, lock: FolderLock | None, text: bytes) -> None:
        self._target, self._lock, self._text = target, lock, text
        self._process = os.getpid()
        self._released = False

    def share(self) -> None:
        """Share the lock with the workers of this process, which write shards to the work folder."""
        if self._lock is not None and not self._lock.try_acquire(shared=True):
            raise busy(self._target.location)

    def check(self) -> None:
        """Raise unless this process may still write to the target.

        Raises:
            OutputExistsError: Another process began writing here, and may have ended; or this is a forked child.
        """
        if os.getpid() != self._process or self._target.read(LEASE_NAME) != self._text:
            raise busy(self._target.location)

    def release(self) -> None:
        """Release the target, deleting unfinished files and keeping finished ones. Safe to call twice.

        A forked child deletes nothing: the files belong to its parent.
        """
        if not self._released and os.getpid() == self._process:
            with suppress(OSError):  # a broken folder was reported before
                if self._lock is None or self._lock.is_current():
                    self._target.drop_scratch()
        self._released = True
        if self._lock is not None:
            self._lock.release()


def acquire(target: Target, command: Command) -> Lease:
    """Return the lease on a target.

    Raises:
        OutputExistsError: Another process is writing there, or work of another kind is unfinished there.
    """
    lock = target.lock()
    try:
        refuse_other_work(target, command)
        text = json.dumps({"command": command, "owner": secrets.token_hex(8)}).encode()
        target.put(LEASE_NAME, [text])
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    return Lease(target, lock, text)


def unfinished_command(target: Target) -> str | None:
    """Return the command that began here and has not finished, or None."""
    try:
        command = json.loads(target.read(LEASE_NAME) or b"")["command"]
    except (ValueError, KeyError, TypeError):
        return None
    return command if isinstance(command, str) else None


def refuse_other_work(target: Target, command: Command) -> None:
    """Refuse to take over unfinished work of another kind.

    `pack`, `copy` and a ShardWriter may continue each other's work. None of them may continue `index`, or be continued
    by it: its tars are the user's, and the others would delete them.

    Raises:
        OutputExistsError: Work of another kind is unfinished here.
    """
    before = unfinished_command(target)
    if before is not None and (before == "index") != (command == "index"):
        raise OutputExistsError(f"the dataset in {target.location!r} is unfinished; {how_to_continue(before)}")


def how_to_continue(command: str) -> str:
    """Return the advice how to finish a dataset that `command` has begun."""
    return (
        "write all samples again"
        if command == "write"
        else f"run the same {command} command again: it continues where it stopped"
    )


def busy(location: str) -> OutputExistsError:
    """Return the error that another process is writing here."""
    return OutputExistsError(
        f"another process is packing into {location!r}; wait until it has ended, or choose another folder"
    )

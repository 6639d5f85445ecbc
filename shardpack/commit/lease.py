"""The lease on a target: one process at a time may write, and its name is in the work folder.

OUT/.shardpack/tmp/lease.json     {"command": "pack", "owner": "5f3a..."}

Parts of one plan share a lease, whose owner is the plan (`shared_transaction.py`).

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

Command = Literal["pack", "pack --part", "write", "copy", "merge", "index", "gc"]  # "write" is a ShardWriter
_CONTINUED_BY_ITSELF = ("pack --part", "index")
_ADVICE = {
    "write": "write all samples again",
    "pack --part": "run its parts again: each continues where it stopped, and --part 1/1 makes all that is missing",
}


class Lease:
    """The right to write to a target until it is released. Only for the process that acquired it.

    Attributes:
        text: What is in the work folder as long as the right lasts.
    """

    def __init__(self, target: Target, lock: FolderLock | None, text: bytes, *, shared: bool = False) -> None:
        self._target, self._lock, self.text, self._shared = target, lock, text, shared
        self._process = os.getpid()
        self._released = False

    @property
    def is_locked(self) -> bool:
        """Whether a lock tells that no other process writes to the target; a lease only says who began last."""
        return self._lock is not None and self._lock.is_real

    def share(self) -> None:
        """Share the lock with the workers of this process, which write shards to the work folder."""
        if self._lock is not None and not self._lock.try_acquire(shared=True):
            raise busy(self._target.location)

    def check(self) -> None:
        """Raise unless this process may still write to the target.

        Raises:
            OutputExistsError: Another process began writing here, and may have ended; or this is a forked child.
        """
        if os.getpid() != self._process or self._target.read(LEASE_NAME) != self.text:
            raise busy(self._target.location)

    def release(self) -> None:
        """Release the target, deleting unfinished files and keeping finished ones. Safe to call twice.

        A forked child deletes nothing: the files belong to its parent.
        """
        if not self._released and os.getpid() == self._process:
            with suppress(OSError):  # a broken folder was reported before
                if self._shared or self._lock is None or self._lock.is_current():
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


def share(target: Target, lock: FolderLock | None, owner: str) -> Lease:
    """Return the lease that all parts of one plan hold together.

    Args:
        target: The target, opened as shared.
        lock: Its lock, which the parts share.
        owner: The digest of the plan.

    Raises:
        OutputExistsError: Another process, or a part of another plan, is writing here.
    """
    text = _shared_text(owner)
    if is_foreign(target, owner):
        raise busy(target.location)
    if target.read(LEASE_NAME) is None:
        target.put(LEASE_NAME, [text])
    return Lease(target, lock, text, shared=True)


def is_foreign(target: Target, owner: str) -> bool:
    """Return whether there is a lease that is not the one of the parts of this plan."""
    return target.read(LEASE_NAME) not in (None, _shared_text(owner))


def _shared_text(owner: str) -> bytes:
    return json.dumps({"command": "pack --part", "owner": owner}).encode()


def unfinished_command(target: Target) -> str | None:
    """Return the command that began here and has not finished, or None."""
    try:
        command = json.loads(target.read(LEASE_NAME) or b"")["command"]
    except (ValueError, KeyError, TypeError):
        return None
    return command if isinstance(command, str) else None


def refuse_other_work(target: Target, command: Command) -> None:
    """Refuse to take over unfinished work of another kind.

    `pack`, `copy`, `merge` and a ShardWriter may continue each other's work. None of them may continue `index`, or be
    continued by it: its tars are the user's, and the others would delete them. Nor may they continue the parts of a
    plan: others may be at work on other machines.

    Raises:
        OutputExistsError: Work of another kind is unfinished here.
    """
    before = unfinished_command(target)
    if before is not None and before != command and not {before, command}.isdisjoint(_CONTINUED_BY_ITSELF):
        raise unfinished(target, before)


def unfinished(target: Target, command: str) -> OutputExistsError:
    """Return the error that `command` has begun here and has not finished."""
    return OutputExistsError(f"the dataset in {target.location!r} is unfinished; {how_to_continue(command)}")


def how_to_continue(command: str) -> str:
    """Return the advice how to finish a dataset that `command` has begun."""
    return _ADVICE.get(command, f"run the same {command} command again: it continues where it stopped")


def busy(location: str) -> OutputExistsError:
    """Return the error that another process is writing here."""
    return OutputExistsError(
        f"another process is writing to {location!r}; wait until it has ended, or choose another folder"
    )

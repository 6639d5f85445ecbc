"""Who may write to a target: one process at a time, which says so in the work folder.

OUT/.shardpack/tmp/lease.json     {"command": "pack", "owner": "5f3a..."}

In a folder a lock keeps the second one out. A bucket has no locks, nor have some network file systems: there the
process that began last goes on; any other finds another owner in the lease and stops before it writes the next file.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from typing import Literal

from shardpack.commit.target import Target
from shardpack.errors import OutputExistsError
from shardpack.format.manifest import WORK_FOLDER
from shardpack.storage.lock import FolderLock

LEASE_NAME = f"{WORK_FOLDER}/lease.json"

Command = Literal["pack", "write", "copy", "index"]  # "write" is a ShardWriter


class Lease:
    """The right to write to a target, until it is released. Only for the process that acquired it."""

    def __init__(self, target: Target, lock: FolderLock | None, text: bytes) -> None:
        self._target, self._lock, self._text = target, lock, text
        self._process = os.getpid()
        self._released = False

    def share(self) -> None:
        """Let workers of this process write shards to the work folder."""
        if self._lock is not None and not self._lock.take(shared=True):
            raise busy(self._target.location)

    def check(self) -> None:
        """Return if the target is still ours to write to.

        Raises:
            OutputExistsError: Another process has begun here, or ended; or this is a forked child.
        """
        if os.getpid() != self._process or self._target.read(LEASE_NAME) != self._text:
            raise busy(self._target.location)

    def release(self) -> None:
        """Give the target up: what we were writing is dropped, what is finished stays. Safe to call twice.

        In a forked child nothing is dropped: it is the parent's.
        """
        if not self._released and os.getpid() == self._process:
            with suppress(OSError):  # what is wrong with the folder has been reported by then
                if self._lock is None or self._lock.is_current():
                    self._target.drop_scratch()
        self._released = True
        if self._lock is not None:
            self._lock.release()


def acquire(target: Target, command: Command) -> Lease:
    """Return the lease of a target.

    Raises:
        OutputExistsError: Another process is writing there, or was, and had begun something else.
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
    """Return the command that began here and has not ended; None if there is none."""
    try:
        command = json.loads(target.read(LEASE_NAME) or b"")["command"]
    except (ValueError, KeyError, TypeError):
        return None
    return command if isinstance(command, str) else None


def refuse_other_work(target: Target, command: Command) -> None:
    """Raise if a command is unfinished here that made something else.

    What was begun by `pack`, `copy` or a ShardWriter is the dataset's own, so that any may take it over. What `index`
    has begun beside is about somebody's tars, which the others would delete.

    Raises:
        OutputExistsError: It is.
    """
    before = unfinished_command(target)
    if before is not None and (before == "index") != (command == "index"):
        raise OutputExistsError(f"the dataset in {target.location!r} is unfinished; {how_to_continue(before)}")


def how_to_continue(command: str) -> str:
    """Return what makes a dataset of one that `command` has begun and not finished."""
    return (
        "write all samples again"
        if command == "write"
        else f"run the same {command} command again: it continues where it stopped"
    )


def busy(location: str) -> OutputExistsError:
    """Return the error that another process is at work here."""
    return OutputExistsError(
        f"another process is packing into {location!r}; wait until it has ended, or choose another folder"
    )

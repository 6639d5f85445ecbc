"""Who may write into a folder or bucket: one packer at a time, and over nothing but what a packer made.

    in OUT                              without force       with force
    nothing of these                    a new dataset       a new dataset
    work folder, no manifest            continue            continue
    manifest                            refuse              replace what the manifest lists
    manifest and work folder            as above, unless it is this very run, killed at its last step
    shard files with neither            refuse              refuse: they may be anybody's
    tars that `shardpack index` found   refuse              refuse: they are somebody's

A packer holds a lock on the work folder; its workers share it while they write. A bucket knows no locks:
there the packer that began last goes on, and any other stops before it writes the next file (`bucket.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from shardpack.commit.target import OTHER_NAMES, DatasetOutput, Hold, is_packed, packer_names
from shardpack.errors import FormatError, OutputExistsError
from shardpack.format import manifest

# The workers of a killed packer end within milliseconds, but not before a write in the kernel does.
_SECONDS_TO_WAIT = 1.0


class Claim:
    """A place this process may pack into, until the claim is left. A context manager.

    Attributes:
        complete: The dataset is there already, whole, made by a run of the same input that was
            killed before it could clean up. Nothing is left to do.
    """

    def __init__(self, output: DatasetOutput, lock: Hold, *, complete: bool):
        self._output, self._lock = output, lock
        self._released = False
        self.complete = complete

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the place up. What was being written is dropped, what is finished stays. Safe to call twice."""
        if self._released:
            return
        self._released = True
        with suppress(OSError):  # what ails the folder has been told by then
            if self._lock.is_current():
                self._output.sweep()
        self._lock.release()


def claim(output: DatasetOutput, *, force: bool, is_same_run: Callable[[str], bool] = lambda _: False) -> Claim:
    """Make a place ready for a new dataset, or for going on with an unfinished one.

    Args:
        output: The place; made if it is not there.
        force: Replace a dataset that is there.
        is_same_run: Called with the mark of the run that made the dataset that is there.

    Raises:
        OutputExistsError: There is something that this would overwrite, or another packer at work.
    """
    refuse_taken(output, force=force)
    output.prepare()
    with ExitStack() as held:
        lock = held.enter_context(_locked_work_folder(output))
        complete = False
        if output.has_manifest():
            mark = output.read_mark()
            complete = mark is not None and is_same_run(mark)
            if complete:
                output.remove_work_folder()
            else:
                _replace(output, force=force)
        if not complete:
            output.sweep()
            if not lock.take(shared=True):
                raise output.busy()
        held.pop_all()
    return Claim(output, lock, complete=complete)


def refuse_taken(output: DatasetOutput, *, force: bool) -> None:
    """Raise OutputExistsError if the place holds what packing must not touch. Writes nothing.

    `claim` asks again; a caller with hours of listing before it may ask first.
    """
    if output.has_work_folder():
        return
    if output.has_manifest():
        _replaceable(output, force=force)
    elif strays := output.files_like_ours():
        raise OutputExistsError(
            f"{output.location!r} holds files that a dataset would overwrite, and no manifest that says whose "
            f"they are: {_shown(strays)}; move them away, or choose another folder"
        )


def _locked_work_folder(output: DatasetOutput) -> Hold:
    """Return a lock on the work folder, which is made if need be."""
    give_up = time.monotonic() + _SECONDS_TO_WAIT
    while True:
        lock = output.lock()
        if lock.take():
            if lock.is_current():
                return lock
        elif time.monotonic() > give_up:
            lock.release()
            raise output.busy()
        lock.release()
        time.sleep(0.01)


def _replaceable(output: DatasetOutput, *, force: bool) -> list[str]:
    """Return the files of the dataset that is there, if it may be replaced."""
    if not force:
        raise OutputExistsError(f"{output.location!r} already holds a dataset; choose another folder, or pass --force")
    try:
        whole = manifest.parse_manifest(output.read(manifest.FILE_NAME) or b"")
    except FormatError as error:
        raise OutputExistsError(
            f"{output.location!r} holds a dataset, but not which files belong to it: {error}; "
            "delete it, or choose another folder"
        ) from error
    if not is_packed(whole):
        raise OutputExistsError(
            f'{output.location!r} holds tars that "shardpack index" found there, and packing would delete them; '
            "choose another folder"
        )
    listed = OTHER_NAMES | packer_names(whole)
    if strays := sorted(set(output.files_like_ours()) - listed):
        raise OutputExistsError(
            f"{output.location!r} holds files that are named like shards, but are not in its manifest: "
            f"{_shown(strays)}; move them away, or choose another folder"
        )
    return sorted(listed)


def _replace(output: DatasetOutput, *, force: bool) -> None:
    """Delete the dataset that is there: the manifest first, so that half of it never looks whole."""
    try:
        files = _replaceable(output, force=force)
    except OutputExistsError:
        output.remove_work_folder()  # of a packer that was killed when all was done
        raise
    output.delete([manifest.FILE_NAME, *files])


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

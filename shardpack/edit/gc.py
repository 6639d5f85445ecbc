"""Delete earlier generations of a dataset, and files that no generation needs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shardpack.commit.generations import newest_generation, replace_copy
from shardpack.commit.lease import LEASE_NAME, Lease, acquire, how_to_continue, unfinished, unfinished_command
from shardpack.commit.target import Target
from shardpack.edit.base import open_base
from shardpack.edit.unneeded import Unneeded, find_unneeded
from shardpack.format.layout import WORK_FOLDER, layer_folder
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.durations import parse_seconds
from shardpack.runtime.progress import Progress, no_progress
from shardpack.storage.atomic import storage_errors
from shardpack.storage.listing import list_objects
from shardpack.storage.lock import FolderLock
from shardpack.storage.open import Writable

KEEP = 1
OLDER_THAN = "7d"
_FILES_PER_STEP = 1000
_DAY = 86400.0  # so long an edit that writes nothing may still be under way where no lock tells


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was deleted, or would be deleted with `dry_run`.

    Attributes:
        location: Folder or URL of the dataset, without secrets.
        kept: Numbers of the generations that are kept, the newest first.
        generations: Numbers of the generations that were deleted, the oldest first.
        files: Names of all files that were deleted, the manifests first.
        layers: Folders of the layers among them, which no generation names that is kept.
        num_bytes: Bytes of these files.
        num_young: How many files stay that no generation needs, because they are younger than `older_than`.
        seconds: Wall time.
        dry_run: Whether nothing was deleted.
    """

    location: str
    kept: tuple[int, ...]
    generations: tuple[int, ...]
    files: tuple[str, ...]
    layers: tuple[str, ...]
    num_bytes: int
    num_young: int
    seconds: float = 0.0
    dry_run: bool = False


def gc(
    dataset: Writable,
    *,
    keep: int = KEEP,
    older_than: float | str = OLDER_THAN,
    storage_options: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> GcReport:
    """Delete earlier generations of a dataset, and files that no generation needs; return what was deleted.

    Never deletes the newest generation, a tar that shardpack did not write, or a tar in another place than the folder
    of the dataset. What an unfinished edit keeps for its next run goes when nothing was written for it for so long.
    Whoever reads a generation that is deleted gets errors.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        keep: How many generations are kept, the newest among them; one that misses a file does not count.
        older_than: Only files that were written that long ago are deleted, and only generations that were followed by
            another one that long ago, so that nobody reads them any more: seconds, or like "12h" or "7d". In a bucket,
            where no lock tells that no edit is under way, unfinished ones stay for a day at least.
        storage_options: For URLs.
        dry_run: Return what would be deleted, but delete nothing.
        progress: Called as progress("gc", files deleted, all files).

    Raises:
        DatasetNotFoundError: `dataset` does not hold a dataset.
        OutputExistsError: Another process is writing there, or a packer has not finished.
        OptionError: An option is out of range, or the place does not tell when files were written.
        CorruptManifestError, CorruptIndexError: A manifest or shard table is damaged, so that the files of a
            generation are not known.
        ShardNotFoundError: A sidecar of the newest generation is missing, so that earlier ones must stay.
        StorageError: The place refused.

    Example:
        >>> shardpack.gc("out/", keep=3, dry_run=True).kept
        (1,)
    """
    began, now = time.perf_counter(), time.time()
    keep, seconds = as_integer("keep", keep, minimum=1), parse_seconds(older_than)
    base = open_base(dataset, storage_options=storage_options)
    target = base.target

    def find(*, is_locked: bool) -> Unneeded:
        return find_unneeded(
            target,
            newest_generation(target),
            list_objects(base.store),
            keep=keep,
            written_before=now - seconds if seconds else None,
            silent_before=None if is_locked else now - _DAY,
        )

    if dry_run:
        found = find(is_locked=base.store.folder is not None and _is_at_rest(base.store.folder))
    else:
        action = f"clean up {target.location!r}"
        with storage_errors(action, then=how_to_continue("gc")), _leased(target) as lease:
            found = find(is_locked=lease.is_locked)
            _delete(target, lease, found, progress)
    deleted = [*found.manifests, *found.files]
    return GcReport(
        location=target.location,
        kept=found.kept,
        generations=found.generations,
        files=tuple(one.path for one in deleted),
        layers=tuple(sorted({folder for one in deleted if (folder := layer_folder(one.path)) is not None})),
        num_bytes=sum(one.num_bytes for one in deleted),
        num_young=found.num_young,
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
    )


@contextmanager
def _leased(target: Target) -> Iterator[Lease]:
    """Yield the lease, under which no edit begins or commits, with the copy of the manifest up to date."""
    before = unfinished_command(target)
    if before not in (None, "gc"):
        raise unfinished(target, before or "")
    lease = acquire(target, "gc")
    try:
        target.clear_scratch()
        newest = newest_generation(target)
        if not newest.is_copied:
            replace_copy(target, newest)
        yield lease
    finally:
        if target.read(LEASE_NAME) == lease.text:
            target.delete([LEASE_NAME])
        lease.release()


def _is_at_rest(folder: str) -> bool:
    """Return whether a lock tells that nobody writes to a dataset. Writes nothing."""
    try:
        with FolderLock(os.path.join(folder, WORK_FOLDER)) as lock:
            return lock.try_acquire() and lock.is_real
    except FileNotFoundError:  # who writes has a work folder
        return True


def _delete(target: Target, lease: Lease, found: Unneeded, progress: Progress) -> None:
    """Delete the files, manifests first: half of a generation must never look complete."""
    total, done = len(found.manifests) + len(found.files), 0
    lease.check()
    target.delete([one.path for one in found.manifests])
    target.fsync()
    for begin in range(0, len(found.files), _FILES_PER_STEP):
        lease.check()
        step = found.files[begin : begin + _FILES_PER_STEP]
        target.delete([one.path for one in step])
        done = len(found.manifests) + begin + len(step)
        progress("gc", done, total)
    target.fsync()

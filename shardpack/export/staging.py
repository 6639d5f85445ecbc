"""Where an export is made until it is whole: a folder in OUT, whose files are then moved to their places.

    OUT/.shardpack-export/<digest of the export>/
        files/...              what OUT will hold
        scrap/...              what only `finish` reads
        done/000012.json       part 12 is made: its note
        publish.json           all is made; the names that are being moved to OUT

A killed run leaves this folder, and nothing else in OUT; the same command goes on from its notes. A run that was
killed while it moved files goes on moving them. Bytes are synced once, before they are moved.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shardpack.errors import OutputExistsError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.storage.atomic import fsync_file, write_file
from shardpack.storage.lock import FolderLock
from shardpack.storage.url import is_url, local_path

STAGING_NAME = ".shardpack-export"
INDEX_STAGING_NAME = ".shardpack-export-index"  # of files that describe tars, which may go to the same OUT
_STAGING_NAMES = frozenset((STAGING_NAME, INDEX_STAGING_NAME))
_SYNCED_FILES = 16  # a part with more has small ones, which are synced together at the end


@dataclass(slots=True)
class ExportFiles:
    """Where an exporter writes: paths below one folder, which exist as soon as they are asked for. Pickles.

    Attributes:
        root: The folder of the files.
        scrap_root: The folder of what only `finish` reads.
        created: Paths that were asked for, in this process.
    """

    root: str
    scrap_root: str
    created: list[str] = field(default_factory=list)
    _folders: set[str] = field(default_factory=set)

    def create(self, *names: str) -> str:
        """Return the path to write a file to, with its folders made; the last name may have slashes as well."""
        path = os.path.join(self.root, *names)
        self._make_folder(os.path.dirname(path))
        self.created.append(path)
        return path

    def scrap(self, name: str) -> str:
        """Return the path of a file that only `finish` reads."""
        self._make_folder(self.scrap_root)
        return os.path.join(self.scrap_root, name)

    def sync(self) -> None:
        """Sync the files of this process to the disk, unless they are many."""
        if len(self.created) <= _SYNCED_FILES:
            for path in self.created:
                fsync_file(path)

    def _make_folder(self, folder: str) -> None:
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)
            self._folders.add(folder)


@dataclass(frozen=True, slots=True)
class StagingPaths:
    """The paths of one export. Pickles."""

    folder: str

    def files(self) -> ExportFiles:
        """Return where to write."""
        return ExportFiles(os.path.join(self.folder, "files"), os.path.join(self.folder, "scrap"))

    @property
    def publishing(self) -> str:
        return os.path.join(self.folder, "publish.json")

    def note_path(self, part: int) -> str:
        return os.path.join(self.folder, "done", f"{part:06d}.json")

    def keep_note(self, part: int, note: Any) -> None:
        """Record that a part is made."""
        write_file(self.note_path(part), [json.dumps(note).encode()])

    def note(self, part: int) -> Any:
        """Return the note of a part that is made, or None."""
        try:
            with open(self.note_path(part), "rb") as file:
                return json.loads(file.read())
        except FileNotFoundError:
            return None

    def share(self) -> FolderLock:
        """Return the lock under which a worker writes, shared with its parent and the other workers.

        Raises:
            OutputExistsError: The parent was killed, and another run has begun.
        """
        return lock_staging(os.path.dirname(self.folder), shared=True)


class Staging:
    """The staging folder of one export, locked while this process works in it. A context manager."""

    def __init__(self, out: str, digest: str, *, force: bool) -> None:
        """Open or create it, after removing what an unfinished export of something else has left.

        Args:
            out: The folder that will hold the files.
            digest: Stands for the samples, the format and all options.
            force: Whether OUT may hold other files, which are deleted once the export is whole.

        Raises:
            OutputExistsError: OUT holds files, or another process is exporting to it.
        """
        self._out, self._force = out, force
        parent = os.path.join(out, STAGING_NAME)
        self.paths = StagingPaths(os.path.join(parent, digest))
        if not os.path.exists(self.paths.publishing):
            refuse_occupied(out, force=force)
        os.makedirs(parent, exist_ok=True)
        self._lock = lock_staging(parent, shared=False)
        for name in os.listdir(parent):
            if name != digest:
                shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
        os.makedirs(os.path.join(self.paths.folder, "done"), exist_ok=True)
        self._lock.try_acquire(shared=True)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def is_publishing(self) -> bool:
        """Whether all files are made, and some may be in their places already."""
        return os.path.exists(self.paths.publishing)

    def publish(self) -> int:
        """Move all files to OUT, and delete this folder; return how many files there are.

        Raises:
            OutputExistsError: OUT holds files that this export may not delete; what was made is kept.
        """
        root = self.paths.files().root
        os.makedirs(root, exist_ok=True)
        if not self.is_publishing:
            count = sum(len(files) for _, _, files in os.walk(root))
            if hasattr(os, "sync"):
                os.sync()
            note = {"names": sorted(os.listdir(root)), "num_files": count}
            write_file(self.paths.publishing, [json.dumps(note).encode()])
        with open(self.paths.publishing, "rb") as file:
            note = json.loads(file.read())
        waiting = set(os.listdir(root))
        moved = set(note["names"]) - waiting
        others = sorted(set(os.listdir(self._out)) - moved - _STAGING_NAMES)
        try:
            _refuse_names(self._out, others, force=self._force)  # some may have come while files were made
        except OutputExistsError as error:
            raise OutputExistsError(f"{error}; or move it away and repeat the call: what was made is kept") from None
        for name in others:
            _delete(os.path.join(self._out, name))
        for name in sorted(waiting):
            os.rename(os.path.join(root, name), os.path.join(self._out, name))
        shutil.rmtree(os.path.join(self._out, STAGING_NAME))
        return int(note["num_files"])


def refuse_occupied(out: str, *, force: bool) -> None:
    """Refuse a folder that holds files; with `force`, one that holds what exports never make.

    Raises:
        OutputExistsError: The first name found is in the message.
    """
    try:
        names = sorted(set(os.listdir(out)) - _STAGING_NAMES)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise OutputExistsError(f"{out!r} is a file; choose another folder") from error
    _refuse_names(out, names, force=force)


def _refuse_names(out: str, names: Sequence[str], *, force: bool) -> None:
    """Refuse to delete what is in OUT by these names; with `force`, what exports never make."""
    if names and not force:
        raise OutputExistsError(
            f"{out!r} holds files, such as {names[0]!r}; choose an empty folder, or pass force=True (--force) to "
            "delete all that is in it"
        )
    # A home folder, a checkout, a dataset or a folder of them: nothing that `force` was meant for.
    for name in names:
        if name.startswith(".") or os.path.lexists(os.path.join(out, name, MANIFEST_PATH)):
            raise OutputExistsError(f"{out!r} holds {name!r}, so force does not delete it; choose another folder")
    if names and _is_within(os.getcwd(), out):
        raise OutputExistsError(f"{out!r} holds the working directory, so force does not delete it; choose another")


def refuse_own_folder(out: str, location: str, locations: Sequence[str] = ()) -> None:
    """Refuse a folder that holds the dataset that is exported, or a folder of its tars, or is held by one.

    Args:
        out: The folder.
        location: Where the dataset was opened.
        locations: Those of its manifest: where its tars are.

    Raises:
        OutputExistsError: It is one of these.
    """
    home = local_path(location)
    _refuse_nested(out, "the dataset", home)
    for place in dict.fromkeys(locations):
        if is_url(place):
            _refuse_nested(out, "the dataset's tars in", local_path(place))
        elif home is not None:
            _refuse_nested(out, "the dataset's tars in", os.path.normpath(os.path.join(home, place)))


def _refuse_nested(out: str, what: str, folder: str | None) -> None:
    if folder is not None and (_is_within(folder, out) or _is_within(out, folder)):
        raise OutputExistsError(f"{out!r} and {what} {folder!r} are one in the other; choose another folder")


def _is_within(path: str, folder: str) -> bool:
    """Return whether a path is a folder or in it."""
    inside, outside = os.path.realpath(path), os.path.realpath(folder)
    return inside == outside or inside.startswith(outside.rstrip(os.sep) + os.sep)


def lock_staging(folder: str, *, shared: bool) -> FolderLock:
    """Return the lock on a staging folder, acquired.

    Raises:
        OutputExistsError: Another process has it, or has just removed the folder.
    """
    lock = FolderLock(folder)
    if not (lock.try_acquire(shared=shared) and lock.is_current()):
        lock.release()
        raise OutputExistsError(
            f"another process is exporting to {os.path.dirname(folder)!r}; wait until it has ended, or choose another "
            "folder"
        )
    return lock


def _delete(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)

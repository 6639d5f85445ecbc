"""List the files below a folder with their sizes and times; opens none of them."""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from operator import attrgetter

from shardpack.errors import SourceError
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.sources.source import Problems

JUNK = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})  # left by systems, never anything to pack
_CHUNK = 10_000  # files between two calls of `progress`: about 30 ms
_FOLDERS_A_TASK = 8


def _int64s() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Files:
    """Files below a folder.

    The files of each folder are consecutive and ascending by name, so files that share a stem are consecutive,
    too. Sorting by path would not give that: "a.b/c" < "a.jpg".

    Attributes:
        root: The folder.
        names: (n) paths relative to `root`, with "/" between components.
        sizes: (n) lengths in bytes.
        mtimes_ns: (n) modification times.
    """

    root: str
    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=_int64s)
    mtimes_ns: array[int] = field(default_factory=_int64s)

    def extend(self, other: Files) -> None:
        """Append the files of another scan."""
        self.names.extend(other.names)
        self.sizes.extend(other.sizes)
        self.mtimes_ns.extend(other.mtimes_ns)

    def without(self, names: Collection[str]) -> Files:
        """Return the files without the named ones, in the same order."""
        dropped = {i for i, name in enumerate(self.names) if name in names} if names else set()
        if not dropped:
            return self
        kept = [i for i in range(len(self.names)) if i not in dropped]
        return Files(
            self.root,
            [self.names[i] for i in kept],
            array("q", [self.sizes[i] for i in kept]),
            array("q", [self.mtimes_ns[i] for i in kept]),
        )


Identity = tuple[int, int]  # device and inode of a folder
Pending = tuple[str, tuple[Identity, ...]]  # a folder, and the identities of its parent folders


def scan(
    root: str | os.PathLike[str],
    problems: Problems,
    *,
    progress: Callable[[int], None] | None = None,
    engine: Engine = IN_PROCESS,
) -> Files:
    """Return all files below `root`, in an order that does not depend on the file system.

    Hidden files and folders (a leading dot) are left out and counted. Links are followed; links to one of their
    parent folders, and anything below the root that cannot be read, are rejected. Costs one `stat` and about
    100 bytes per file.

    Args:
        root: The folder.
        problems: Receives what is rejected or left out.
        progress: Called from time to time with the number of files so far.
        engine: Distributes the folders in `root` among its workers; the result does not depend on it.

    Raises:
        SourceError: `root` is not a readable folder.
    """
    files = Files(os.fspath(root))
    below = _scan_folder(files, ("", ()), problems, progress)
    if engine.jobs == 1 or len(below) < 2:
        _scan_below(files, below, problems, progress)
        return files
    tasks = [(files.root, below[first : first + _FOLDERS_A_TASK]) for first in range(0, len(below), _FOLDERS_A_TASK)]
    parts: dict[int, tuple[Files, Problems]] = {}
    found = len(files.names)
    for number, part in engine.map(_scan_task, tasks):
        parts[number] = part
        found += len(part[0].names)
        if progress is not None:
            progress(found)
    for number in range(len(tasks)):
        files.extend(parts[number][0])
        problems.extend(parts[number][1])
    return files


def _scan_task(task: tuple[str, list[Pending]]) -> tuple[Files, Problems]:
    root, folders = task
    files, problems = Files(root), Problems()
    _scan_below(files, folders, problems, None)
    return files, problems


def _scan_below(
    files: Files, folders: list[Pending], problems: Problems, progress: Callable[[int], None] | None
) -> None:
    # A stack, not recursion: folders may be nested deeper than Python's stack.
    pending = folders[::-1]
    while pending:
        pending += reversed(_scan_folder(files, pending.pop(), problems, progress))


def _scan_folder(
    files: Files, pending: Pending, problems: Problems, progress: Callable[[int], None] | None
) -> list[Pending]:
    """Add the files of one folder to `files`, and return the folders in it."""
    folder, above = pending
    path = os.path.join(files.root, folder) if folder else files.root
    try:
        identity = _identity(path)
        entries = [] if identity in above else _entries(path)
    except OSError as error:
        if not folder:
            raise _root_error(files.root, error) from error
        problems.reject(folder, f"unreadable: {error.strerror}; change its permissions, or remove it")
        return []
    if identity in above:
        problems.reject(folder, "a link to one of its parent folders; remove it")
        return []
    below: list[str] = []
    for first in range(0, len(entries), _CHUNK):
        below += _add_entries(files, folder + "/" if folder else "", entries[first : first + _CHUNK], problems)
        if progress is not None:
            progress(len(files.names))
    return [(name, (*above, identity)) for name in below]


def _root_error(root: str, error: OSError) -> SourceError:
    if isinstance(error, NotADirectoryError):
        return SourceError(f"not a folder: {root!r}; name the folder that holds the images")
    return SourceError(f"cannot read the source: {error.strerror}: {root!r}; name a folder that you may read")


def _identity(path: str) -> Identity:
    # Not DirEntry.stat, which returns 0 for both numbers on Windows.
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _entries(path: str) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        return sorted(entries, key=attrgetter("name"))


def _add_entries(files: Files, prefix: str, entries: list[os.DirEntry[str]], problems: Problems) -> list[str]:
    """Add the files in `entries` to `files`, and return the names of the folders in `entries`."""
    folders: list[str] = []
    add_name, add_size, add_time = files.names.append, files.sizes.append, files.mtimes_ns.append
    for entry in entries:
        name = prefix + entry.name
        if entry.name[0] == "." or entry.name in JUNK:
            problems.leave_out(name, "hidden")
            continue
        try:
            if entry.is_file():
                status = entry.stat()
                # Most files can be read by all, which their mode tells without another call.
                if not status.st_mode & stat.S_IROTH and not os.access(entry.path, os.R_OK):
                    problems.reject(name, "unreadable: permission denied; change its permissions, or remove it")
                    continue
                add_size(status.st_size)
                add_time(status.st_mtime_ns)
                add_name(name)
            elif entry.is_dir():
                folders.append(name)
            elif entry.is_symlink():
                problems.reject(name, "a link to a missing file; remove it")
            else:
                problems.leave_out(name, "neither a file nor a folder")
        except OSError as error:
            problems.reject(name, f"unreadable: {error.strerror}; change its permissions, or remove it")
    return folders

"""The files of archives as a tree: names in the order of a folder's, and for each the range that it is.

What a name may be is decided here for all kinds of archives, so that a tree never has two files of one name.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.archives.names import is_hidden, problem_of, repeated, with_slashes, without_dot, wrapping_folder
from shardpack.sources.columns import Chosen, MadeColumn
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from shardpack.storage.protocols import Store


def _int64s() -> array[int]:
    return array("q")


class Ranges(MadeColumn[Reference]):
    """References to ranges of one object, by where they start."""

    def __init__(self, store: int, path: str, starts: Sequence[int]) -> None:
        self._store, self._path, self._starts = store, path, starts

    def __len__(self) -> int:
        return len(self._starts)

    def _value(self, row: int) -> Reference:
        return Reference(self._store, self._path, self._starts[row])


@dataclass(slots=True)
class Members:
    """The files of archives, in columns, in the order of the archives.

    Attributes:
        names: As in the archive, decoded.
        sizes: Bytes of each.
        references: Where each is, in the store of the archive.
        refused: (name, why) of files that cannot be read.
        left_out: (name, what) of members that are no files, and need not be reported as files.
    """

    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=_int64s)
    references: Sequence[Reference] = ()
    refused: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def take(self, numbers: npt.NDArray[np.int64]) -> Members:
        """Return the files with these numbers, without what was refused or left out."""
        names = [self.names[number] for number in numbers.tolist()]
        sizes = array("q", np.array(self.sizes, np.int64)[numbers].tobytes())
        return Members(names, sizes, Chosen.of(self.references).take(numbers))

    @classmethod
    def joined(cls, parts: Sequence[Members]) -> Members:
        """Return the files of several archives."""
        if len(parts) == 1:
            return parts[0]
        names = [name for part in parts for name in part.names]
        sizes = array("q", b"".join(part.sizes.tobytes() for part in parts))
        return cls(names, sizes, Chosen.joined([part.references for part in parts]))


def checked(members: Members, folder: str, problems: Problems) -> Members:
    """Return the files whose names may be in a tree, below a folder of it; the others are reported.

    Args:
        members: The files of one archive.
        folder: The folder, with a slash at its end, or "" for the root. It is not repeated where all files are in a
            folder of its name already.
        problems: Receives what is rejected or left out.
    """
    names = [without_dot(name) for name in with_slashes(members.names)]
    twice = repeated(names)
    kept: list[int] = []
    for name, count in twice.items():
        problems.reject(folder + name, f"the archive has {count} files of this name; make the archive again")
    for number, name in enumerate(names):
        if name in twice:
            continue
        if (problem := problem_of(name)) is not None:
            problems.reject(folder + name, problem)
        elif is_hidden(name):
            problems.leave_out(folder + name, "hidden")
        else:
            kept.append(number)
    for name, reason in members.refused:
        problems.reject(folder + name, reason)
    for name, what in members.left_out:
        problems.leave_out(folder + name, what)
    found = replace(members, names=names).take(np.array(kept, np.int64))
    wrapping = wrapping_folder(found.names)
    if folder and folder != wrapping and all(name.startswith(folder) for name in found.names):
        wrapping = folder
    if folder != wrapping:
        found.names = [folder + name[len(wrapping) :] for name in found.names]
    return found


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """The bytes of files in archives, and of files beside them.

    Attributes:
        tree: The names and sizes of all, and the bytes of the files beside the archives.
        is_inside: Whether each file of the tree is in an archive.
        references: Where each file of the tree is; anything for one beside the archives.
        stores: What the references point into.
        version: Changes when an archive is replaced.
    """

    tree: Tree
    is_inside: npt.NDArray[np.bool_]
    references: Sequence[Reference]
    stores: tuple[Store, ...]
    version: str

    def read(self, name: str, *, max_bytes: int, first: int | None = None) -> bytes:
        """Return bytes of a file; see `Contents.read`. One that is in an archive is inflated whole."""
        number = self.tree.number(name)
        if number is None:
            raise SourceError(f"no file {name!r} in the archive; check the name")
        if not self.is_inside[number]:
            return self.tree.read(name, max_bytes=max_bytes, first=first)
        reference, size = self.references[number], self.tree.files.sizes[number]
        if size > max_bytes:
            raise SourceError(f"{name} has {size:,} bytes, expected at most {max_bytes:,}; split it")
        try:
            data = self.stores[reference.store].get_range(reference.path, start=reference.start, length=size)
            return bytes(data[:first])
        except ShardpackError as error:
            raise SourceError(f"cannot read {name!r}: {error}") from error

    def locate(self, listing: Listing) -> Listing:
        """Return the listing with ranges of the archives for names of files in them; see `Contents.locate`."""
        others = Chosen.of(listing.payload)
        numbers = others.numbers + len(self.references)
        for member, payload in enumerate(others):
            number = self.tree.number(payload) if isinstance(payload, str) else None
            if number is not None and self.is_inside[number]:
                numbers[member] = number
        columns = (self.references, *others.columns)
        return replace(listing, payload=Chosen(columns, numbers), stores=self.stores, version=self.version)


def _by_folder(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Return the order by folder, then by name, in which `Files` are; keeps no text for each name."""
    rank = {folder: number for number, folder in enumerate(sorted({_folder(name) for name in names}))}
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    ranks = np.fromiter((rank[_folder(names[i])] for i in order.tolist()), np.int64, len(order))
    return order[np.argsort(ranks, kind="stable")]


def _folder(name: str) -> str:
    return name[: max(name.rfind("/"), 0)]


def tree_of(root: str, members: Members, stores: tuple[Store, ...], version: str, beside: Files | None = None) -> Tree:
    """Return the tree of files in archives, and of files beside them.

    Args:
        root: The archive, or the folder of archives.
        members: The files of all archives, their names checked.
        stores: What their references point into.
        version: Changes when an archive is replaced.
        beside: The files beside the archives.
    """
    names, sizes, times = members.names, np.array(members.sizes, np.int64), np.zeros(len(members.names), np.int64)
    if beside is not None:
        names = names + beside.names
        sizes, times = np.append(sizes, beside.sizes), np.append(times, beside.mtimes_ns)
    order = _by_folder(names)
    files = Files(
        root,
        [names[i] for i in order.tolist()],
        array("q", sizes[order].tobytes()),
        array("q", times[order].tobytes()),
    )
    unused = Ranges(0, "", array("q", bytes(8 * (len(names) - len(members.names)))))
    references = Chosen.joined([members.references, unused]).take(order)
    return Tree(files, ArchiveContents(Tree(files), order < len(members.names), references, stores, version))

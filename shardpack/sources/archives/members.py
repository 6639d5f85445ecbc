"""The files of archives as a tree: names in the order of a folder's, and for each the range that it is.

What a name may be is decided here for all kinds of archives, so that a tree never has two files of one name.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from shardpack.errors import ShardpackError, SourceError
from shardpack.sources.archives.names import is_hidden, problem_of, repeated, with_slashes, without_dot, wrapping_folder
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.tree import Contents, Tree
from shardpack.storage.protocols import Store


def _int64s() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Members:
    """The files of one archive, in columns, in the order of the archive.

    Attributes:
        names: As in the archive, decoded.
        sizes: Bytes of each.
        references: Where each is, in the store of the archive.
        refused: (name, why) of files that cannot be read.
        left_out: (name, what) of members that are no files, and need not be reported as files.
    """

    names: list[str] = field(default_factory=list)
    sizes: array[int] = field(default_factory=_int64s)
    references: list[Reference] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, size: int, reference: Reference) -> None:
        """Add a file."""
        self.names.append(name)
        self.sizes.append(size)
        self.references.append(reference)


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
    kept = Members()
    for name, size, reference in zip(names, members.sizes, members.references, strict=True):
        if name in twice:
            problems.reject(folder + name, "the archive has two files of this name; make the archive again")
        elif (problem := problem_of(name)) is not None:
            problems.reject(folder + name, problem)
        elif is_hidden(name):
            problems.leave_out(folder + name, "hidden")
        else:
            kept.add(name, size, reference)
    for name, reason in members.refused:
        problems.reject(folder + name, reason)
    for name, what in members.left_out:
        problems.leave_out(folder + name, what)
    wrapping = wrapping_folder(kept.names)
    if folder and folder != wrapping and all(name.startswith(folder) for name in kept.names):
        wrapping = folder
    kept.names = [folder + name[len(wrapping) :] for name in kept.names]
    return kept


@dataclass(frozen=True, slots=True)
class ArchiveContents:
    """The bytes of files in archives, and of files beside them.

    Attributes:
        number_of: Name of a file in an archive -> its number.
        sizes: Bytes of each.
        references: Where each is.
        stores: What the references point into.
        version: Changes when an archive is replaced.
        beside: The files beside the archives; None if there are none.
    """

    number_of: dict[str, int]
    sizes: Sequence[int]
    references: Sequence[Reference]
    stores: tuple[Store, ...]
    version: str
    beside: Contents | None = None

    def read(self, name: str, *, max_bytes: int) -> bytes:
        """Return all bytes of a file; see `Contents.read`."""
        number = self.number_of.get(name)
        if number is None:
            if self.beside is None:
                raise SourceError(f"no file {name!r} in the archive; check the name")
            return self.beside.read(name, max_bytes=max_bytes)
        size, reference = self.sizes[number], self.references[number]
        if size > max_bytes:
            raise SourceError(f"{name} has {size:,} bytes, expected at most {max_bytes:,}; split it")
        try:
            return bytes(self.stores[reference.store].get_range(reference.path, start=reference.start, length=size))
        except ShardpackError as error:
            raise SourceError(f"cannot read {name!r}: {error}") from error

    def locate(self, listing: Listing) -> Listing:
        """Return the listing with ranges of the archives for names of files in them; see `Contents.locate`."""
        number_of, references = self.number_of, self.references
        payload = [
            references[number_of[each]] if isinstance(each, str) and each in number_of else each
            for each in listing.payload
        ]
        return replace(listing, payload=payload, stores=self.stores, version=self.version)


def _by_folder(names: Sequence[str]) -> list[int]:
    """Return the order by folder, then by name, in which `Files` are; keeps no text for each name."""
    rank = {folder: number for number, folder in enumerate(sorted({_folder(name) for name in names}))}
    order = np.array(sorted(range(len(names)), key=names.__getitem__), np.int64)
    ranks = np.fromiter((rank[_folder(names[i])] for i in order.tolist()), np.int64, len(order))
    by_folder: list[int] = order[np.argsort(ranks, kind="stable")].tolist()
    return by_folder


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
    names, sizes, times = list(members.names), list(members.sizes), [0] * len(members.names)
    if beside is not None:
        names, sizes, times = names + beside.names, [*sizes, *beside.sizes], [*times, *beside.mtimes_ns]
    order = _by_folder(names)
    files = Files(
        root,
        [names[i] for i in order],
        array("q", [sizes[i] for i in order]),
        array("q", [times[i] for i in order]),
    )
    number_of = {name: number for number, name in enumerate(members.names)}
    contents = ArchiveContents(
        number_of,
        members.sizes,
        members.references,
        stores,
        version,
        None if beside is None else Tree(beside).contents,
    )
    return Tree(files, contents)

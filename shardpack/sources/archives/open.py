"""Open archives as trees: one archive, local or remote, or a folder of them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from shardpack.codecs.field_types import is_image
from shardpack.errors import SourceError
from shardpack.sources.archives.members import Members, checked, tree_of
from shardpack.sources.archives.names import repeated
from shardpack.sources.archives.nested import MemberStream, PartStore
from shardpack.sources.archives.tar import list_tar
from shardpack.sources.archives.tar_stream import is_compressed_tar
from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_directory import STORED
from shardpack.sources.archives.zip_store import ZipStore, parse_member, payload_start
from shardpack.sources.listing import Reference
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from shardpack.storage.local import LocalStore
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Store
from shardpack.storage.url import local_path

Unpack = Callable[[Store, str], tuple[Store, str]]  # a compressed file -> what it holds, as a local file

_MAX_DEPTH = 2  # of archives in archives: Kaggle's zips hold zips
_ZIP, _TAR = ".zip", ".tar"
_NUMBERED = re.compile(r".*[-_.]\d+")  # "shard-000012": one of many, and no name of a class or split


def is_archive(name: str) -> bool:
    """Return whether a file is an archive of files, by its name: .zip, .tar, or a compressed tar."""
    return name.lower().endswith((_ZIP, _TAR)) or is_compressed_tar(name)


def kind_of(names: Sequence[str], layout: str) -> str:
    """Return what archives are called in the line that is said of a source: "zip archive", "3 archives".

    Args:
        names: Their names.
        layout: The layout of their files. Tars of images with label files need no packing.
    """
    plain = all(name.lower().endswith(_TAR) for name in names)
    advice = ' (to use it as it is, without a copy: "shardpack index")' if plain and layout == "files" else ""
    if len(names) > 1:
        return f"{len(names):,} archives" + advice.replace("it as it is", "them as they are")
    return ("zip archive" if names[0].lower().endswith(_ZIP) else "tar" if plain else "compressed tar") + advice


def _stem(name: str) -> str:
    """Return the name of an archive without its ending."""
    stem, ending = os.path.splitext(name)
    return stem.removesuffix(_TAR) if ending.lower() not in (_ZIP, _TAR) else stem


def open_archive(
    location: str | os.PathLike[str],
    problems: Problems,
    storage_options: Mapping[str, Any] | None = None,
    *,
    unpack: Unpack | None = None,
) -> Tree:
    """Return the files of an archive, named by its path or URL; see `is_archive`.

    Args:
        location: The path or URL.
        problems: Receives what is rejected or left out.
        storage_options: For a URL.
        unpack: Unpacks compressed tars; None refuses them.

    Raises:
        SourceError: It is missing, damaged, or refused.
        StorageError: It cannot be read.
    """
    text = os.fspath(location)
    path = local_path(text)
    if path is not None:
        if not os.path.isfile(path):
            raise SourceError(f"no file is at {text!r}; check the path")
        folder, name = os.path.split(os.path.abspath(path))
        store: Store = LocalStore(folder)
    else:
        folder, _, name = text.rpartition("/")
        store = open_store(folder, storage_options)
    return _tree(text, store, {name: ""}, problems, unpack=unpack)


def archives_beside(files: Files) -> list[str]:
    """Return the names of the archives in a folder whose images are all in archives; none if it has loose images.

    Where images lie beside an archive, it is rather what they were unpacked from.
    """
    if any(map(_is_image, files.names)):
        return []
    return [name for name in files.names if is_archive(name)]


def open_archives(files: Files, names: Sequence[str], problems: Problems, *, unpack: Unpack | None = None) -> Tree:
    """Return the files of archives in a folder, those of each in a folder called like it, and the files beside them.

    Raises:
        SourceError: An archive is damaged, or refused.
    """
    store = LocalStore(files.root)
    numbered = all(_NUMBERED.fullmatch(_stem(name)) for name in names)
    folders = {name: "" if numbered else _stem(name) + "/" for name in names}
    return _tree(files.root, store, folders, problems, unpack=unpack, beside=files.without(set(names)))


def _tree(
    root: str,
    store: Store,
    folders: Mapping[str, str],
    problems: Problems,
    *,
    unpack: Unpack | None,
    beside: Files | None = None,
) -> Tree:
    opened = _Opened(problems, unpack)
    for name, folder in folders.items():
        opened.add(store, name, name, folder)
    members = opened.members
    twice = repeated([*members.names, *(() if beside is None else beside.names)])
    if twice:
        raise SourceError(
            f"{min(twice)!r} is in two archives, or in one and beside it; pack them one after the other", path=root
        )
    version = " ".join(_version(store, name) for name in folders)
    return tree_of(root, members, tuple(opened.stores), version, beside)


class _Opened:
    """The files of archives, and of archives in them, as they are opened one after the other."""

    def __init__(self, problems: Problems, unpack: Unpack | None) -> None:
        self.stores: list[Store] = []
        self._parts: list[Members] = []
        self._problems, self._unpack = problems, unpack

    @property
    def members(self) -> Members:
        """The files of all archives that were added."""
        return Members.joined(self._parts)

    def add(self, store: Store, path: str, name: str, folder: str, *, depth: int = 0) -> None:
        """Add the files of an archive.

        Args:
            store: Its store.
            path: Its path there.
            name: Its own name, which tells what it is.
            folder: The folder of the tree for its files, with a slash, or "" for the root.
            depth: In how many archives it is.
        """
        kept = checked(self._list(store, path, name), folder, self._problems)
        # As in a folder: archives beside images are rather what these were unpacked from.
        inner = [] if any(map(_is_image, kept.names)) or depth == _MAX_DEPTH else list(filter(is_archive, kept.names))
        numbered = all(_NUMBERED.fullmatch(_stem(each)) for each in inner)
        is_inner = np.array([bool(inner) and is_archive(each) for each in kept.names], bool)
        self._parts.append(kept.take(np.flatnonzero(~is_inner)))
        for number, each in zip(np.flatnonzero(is_inner).tolist(), inner, strict=True):
            inside, where = self._inner(each, kept.sizes[number], kept.references[number])
            self.add(inside, where, each, folder if numbered else _stem(each) + "/", depth=depth + 1)

    def _list(self, store: Store, path: str, name: str) -> Members:
        if name.lower().endswith(_ZIP):
            self.stores.append(ZipStore(store))
            return list_zip(store, path, len(self.stores) - 1)
        if not name.lower().endswith(_TAR):
            store, path = self._unpacked(store, path, name)
        self.stores.append(store)
        return list_tar(store, path, len(self.stores) - 1)

    def _unpacked(self, store: Store, path: str, name: str) -> tuple[Store, str]:
        if self._unpack is None:
            raise SourceError("a compressed archive can only be packed; unpack it for anything else", path=name)
        return self._unpack(store, path)

    def _inner(self, name: str, size: int, reference: Reference) -> tuple[Store, str]:
        """Return the store and the path of an archive that is in another one."""
        store, path = self.stores[reference.store], reference.path
        if not isinstance(store, ZipStore):
            return PartStore(store, path, reference.start, size), path
        member = parse_member(path)
        if member.method == STORED:
            return PartStore(store.base, member.archive, payload_start(store.base, member), size), member.archive
        return self._unpacked(MemberStream(store.base, member), name, name)


def _is_image(name: str) -> bool:
    return is_image(name.rpartition(".")[2].lower())


def _version(store: Store, name: str) -> str:
    """Return a text that changes when an archive is replaced."""
    if store.folder is not None:
        status = os.stat(os.path.join(store.folder, name))
        return f"{name} {status.st_size} {status.st_mtime_ns}"
    version = store.version(name)
    # Without versions, every run counts as different.
    return f"{name} {version.size} {version.etag or secrets.token_hex()}"

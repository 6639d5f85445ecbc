"""Open archives as trees: one archive, local or remote, or a folder of them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shardpack.codecs.field_types import is_image
from shardpack.errors import SourceError
from shardpack.sources.archives.members import Members, checked, tree_of
from shardpack.sources.archives.names import repeated
from shardpack.sources.archives.tar import list_tar
from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_store import ZipStore
from shardpack.sources.scan import Files
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from shardpack.storage.local import LocalStore
from shardpack.storage.open import open_store
from shardpack.storage.protocols import Store
from shardpack.storage.url import local_path

_LISTERS: dict[str, Callable[[Store, str, int], Members]] = {".zip": list_zip, ".tar": list_tar}
_NUMBERED = re.compile(r".*[-_.]\d+")  # "shard-000012": one of many, and no name of a class or split


def archive_suffix(name: str) -> str | None:
    """Return the ending by which a file is an archive that can be read in place, in lower case; None for others."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix if suffix in _LISTERS else None


def open_archive(
    location: str | os.PathLike[str], problems: Problems, storage_options: Mapping[str, Any] | None = None
) -> Tree:
    """Return the files of an archive: a path or URL that ends in .zip or .tar.

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
    return _tree(text, store, {name: ""}, problems)


def archives_beside(files: Files) -> list[str]:
    """Return the names of the archives in a folder whose images are all in archives; none if it has loose images.

    Where images lie beside an archive, it is rather what they were unpacked from.
    """
    if any(is_image(name.rpartition(".")[2].lower()) for name in files.names):
        return []
    return [name for name in files.names if archive_suffix(name)]


def open_archives(files: Files, names: Sequence[str], problems: Problems) -> Tree:
    """Return the files of archives in a folder, those of each in a folder called like it, and the files beside them.

    Raises:
        SourceError: An archive is damaged, or refused.
    """
    store = LocalStore(files.root)
    numbered = len(names) > 1 and all(_NUMBERED.fullmatch(os.path.splitext(name)[0]) for name in names)
    folders = {name: "" if numbered else os.path.splitext(name)[0] + "/" for name in names}
    return _tree(files.root, store, folders, problems, files.without(set(names)))


def _tree(root: str, store: Store, folders: Mapping[str, str], problems: Problems, beside: Files | None = None) -> Tree:
    members = Members()
    for name, folder in folders.items():
        suffix = archive_suffix(name)
        if suffix is None:
            raise SourceError(f"{name!r} is not an archive that can be read; expected {' or '.join(_LISTERS)}")
        listed = checked(_LISTERS[suffix](store, name, int(suffix == ".zip")), folder, problems)
        members.names += listed.names
        members.sizes += listed.sizes
        members.references += listed.references
    twice = repeated([*members.names, *(() if beside is None else beside.names)])
    if twice:
        raise SourceError(
            f"{min(twice)!r} is in two archives, or in one and beside it; pack them one after the other", path=root
        )
    version = " ".join(_version(store, name) for name in folders)
    return tree_of(root, members, (store, ZipStore(store)), version, beside)


def _version(store: Store, name: str) -> str:
    """Return a text that changes when an archive is replaced."""
    if store.folder is not None:
        status = os.stat(os.path.join(store.folder, name))
        return f"{name} {status.st_size} {status.st_mtime_ns}"
    version = store.version(name)
    # Without versions, every run counts as different.
    return f"{name} {version.size} {version.etag or secrets.token_hex()}"

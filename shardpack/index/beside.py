"""What lies beside the tars that are indexed: splits and class names are kept, tables of labels are named."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from shardpack.errors import ObjectTooLargeError, ShardNotFoundError, StorageError
from shardpack.index.find import TarSet
from shardpack.sources.class_list import CLASS_LIST, read_class_lists
from shardpack.sources.stated_splits import MAX_BYTES, StatedSplits, find_stated_splits, splits_by_name
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Store


@dataclass(frozen=True, slots=True)
class Beside:
    """Files of other tools, and of `shardpack.export`.

    Attributes:
        splits: Which tar is of which split.
        tables: Names of the tables that have the names of tars, as img2dataset writes them; they are not read.
        classes: Class names, as exports keep them in a list; None without one.
    """

    splits: StatedSplits
    tables: Sequence[str] = ()
    classes: tuple[str, ...] | None = None


def look_beside(tars: TarSet) -> Beside:
    """Return what is beside some tars. Costs a listing of their folder on a disk, and a read or three elsewhere.

    Raises:
        SourceError: A file states splits that cannot be, or a class list is damaged.
    """
    files = _files_of(tars)
    splits = find_stated_splits(tars.names, lambda name: _read(tars.store, name), files)
    if not splits.of and tars.on_disk:
        splits = _above(tars)
    if not splits.of:
        splits = splits_by_name(tars.names)
    tables = tuple(name for name in _like(tars.names, ".parquet") if name in files)
    return Beside(splits, tables, _classes(tars, files))


def _classes(tars: TarSet, files: frozenset[str]) -> tuple[str, ...] | None:
    """Return the class names of a list in the folders of tars on a disk, or in the root of those elsewhere."""
    names = [name for name in sorted(files) if posixpath.basename(name) == CLASS_LIST] if tars.on_disk else [CLASS_LIST]
    found = {name: data for name in names if (data := _read(tars.store, name)) is not None}
    return read_class_lists(found, found.__getitem__)[1]


def _above(tars: TarSet) -> StatedSplits:
    """Return what is stated one folder above tars that are all in one: names there begin with that folder."""
    root, folder = os.path.split(tars.folder)
    stated = find_stated_splits([f"{folder}/{name}" for name in tars.names], lambda name: _read(LocalStore(root), name))
    of = {name.removeprefix(f"{folder}/"): split for name, split in stated.of.items()}
    return StatedSplits(f"../{stated.file}", of) if of else StatedSplits()


def _files_of(tars: TarSet) -> frozenset[str]:
    """Return the names of all files in the folders of tars on a disk."""
    names: set[str] = set()
    if tars.on_disk:
        for folder in {posixpath.dirname(name) for name in tars.names}:
            with suppress(OSError):
                names.update(posixpath.join(folder, name) for name in os.listdir(tars.path(folder)))
    return frozenset(names)


def _like(names: Sequence[str], suffix: str) -> list[str]:
    return [name.rpartition(".")[0] + suffix for name in names]


def _read(store: Store, name: str) -> bytes | None:
    try:
        return bytes(store.get(name, max_bytes=MAX_BYTES))
    except (ShardNotFoundError, ObjectTooLargeError, StorageError):  # buckets may refuse to say that nothing is there
        return None

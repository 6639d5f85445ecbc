"""What other tools have left beside the tars that are indexed: splits are kept, tables of labels are named."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from shardpack.errors import ObjectTooLargeError, ShardNotFoundError, StorageError
from shardpack.index.find import TarSet
from shardpack.sources.stated_splits import MAX_BYTES, StatedSplits, find_stated_splits, splits_by_name
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Store


@dataclass(frozen=True, slots=True)
class Beside:
    """Files of other tools.

    Attributes:
        splits: Which tar is of which split.
        tables: Names of the tables that have the names of tars, as img2dataset writes them; they are not read.
    """

    splits: StatedSplits
    tables: Sequence[str] = ()


def look_beside(tars: TarSet) -> Beside:
    """Return what is beside some tars. Costs a listing of their folder on a disk, and a read or two elsewhere.

    Raises:
        SourceError: A file states splits that cannot be.
    """
    files = _files_of(tars)
    splits = find_stated_splits(tars.names, lambda name: _read(tars.store, name), files)
    if not splits.of and tars.on_disk:
        splits = _above(tars)
    if not splits.of:
        splits = splits_by_name(tars.names)
    tables = tuple(name for name in _like(tars.names, ".parquet") if name in files)
    return Beside(splits, tables)


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

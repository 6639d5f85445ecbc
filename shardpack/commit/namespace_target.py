"""A new dataset within another one, as a target: what `pack` writes becomes shards that an edit can add.

    what `pack` calls it                        where it is
    shard-000000.tar                            shard-g000002-5f3a9c01-000000.tar
    .shardpack/index/shard-000000.index         .shardpack/index/shard-g000002-5f3a9c01-000000.index
    .shardpack/manifest.json, tmp/, run.json    .shardpack/tmp/append-0c4d77ab/.shardpack/...

So planning, journal, resume and all engines are those of `pack`, and a reader of the outer dataset sees nothing until
its manifest names the shards. What is in the outer dataset is never listed.

The inner dataset keeps its run.json, which any other deletes when it is published: as long as the edit has not
committed, the same command finds that its shards are finished, and another input that they are not its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from shardpack.commit.journal import entry_shard
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.format.layout import FOLDER, INDEX_FOLDER, RUN_PATH, index_path, is_index_path, tagged_shard_name
from shardpack.storage.lock import FolderLock


class NamespaceTarget:
    """Tars and their indexes in an outer target, under names with a tag; everything else in an inner one."""

    def __init__(self, outer: Target, inner: Target, *, tag: str, location: int = 0) -> None:
        """Write to both.

        Args:
            outer: The dataset that grows.
            inner: A folder in it, for this command alone.
            tag: Part of the names of the shards.
            location: Number of the outer dataset's own folder among its locations.
        """
        self._outer, self._inner, self._tag, self._location = outer, inner, tag, location

    @property
    def location(self) -> str:
        return self._outer.location

    @property
    def moves_files(self) -> bool:
        return self._inner.moves_files

    @property
    def can_create(self) -> bool:
        return self._inner.can_create

    def opener(self) -> Callable[[], NamespaceTarget]:
        return partial(_open, self._outer.opener(), self._inner.opener(), self._tag, self._location)

    @property
    def scratch(self) -> ScratchDir:
        return self._inner.scratch

    def clear_scratch(self) -> None:
        self._inner.clear_scratch()

    def drop_scratch(self) -> None:
        self._inner.drop_scratch()

    def lock(self) -> FolderLock | None:
        return self._inner.lock()

    def refresh(self) -> None:
        self._inner.refresh()

    def names(self) -> list[str]:
        """Return the names in the inner target, and those of the shards that its journal tells of."""
        names = list(self._inner.names())
        shards = [shard for name in names if (shard := entry_shard(name)) is not None]
        return [*names, *shards, *map(index_path, shards)]

    def names_below(self, folder: str) -> list[str]:
        return self._inner.names_below(folder)

    def _place(self, name: str) -> tuple[Target, str]:
        """Return the target of a file, and its name there."""
        if is_index_path(name):
            return self._outer, tagged_index_path(name, self._tag, self._location)
        if name.startswith(f"{FOLDER}/"):
            return self._inner, name
        return self._outer, tagged_shard_name(name, self._tag)

    def size(self, name: str) -> int | None:
        target, place = self._place(name)
        return target.size(place)

    def read(self, name: str) -> bytes | None:
        target, place = self._place(name)
        return target.read(place)

    def put(self, name: str, parts: Iterable[Any]) -> None:
        target, place = self._place(name)
        target.put(place, parts)

    def replace(self, name: str, data: bytes) -> None:
        target, place = self._place(name)
        target.replace(place, data)

    def put_unsynced(self, name: str, data: bytes) -> None:
        target, place = self._place(name)
        target.put_unsynced(place, data)

    def create(self, name: str, parts: Iterable[Any]) -> None:
        target, place = self._place(name)
        target.create(place, parts)

    def put_file(self, name: str, path: Path, *, num_bytes: int, crc32c: int | None) -> None:
        target, place = self._place(name)
        target.put_file(place, path, num_bytes=num_bytes, crc32c=crc32c)

    def add(self, names: Iterable[str]) -> None:
        for name in names:
            target, place = self._place(name)
            target.add([place])

    def delete(self, names: Iterable[str]) -> None:
        """Delete the files that exist, the first one before all others; run.json stays."""
        places = [self._place(name) for name in names if name != RUN_PATH]
        for group in (places[:1], places[1:]):
            for target in (self._outer, self._inner):
                target.delete([place for of, place in group if of is target])

    def fsync(self) -> None:
        self._outer.fsync()
        self._inner.fsync()


def tagged_index_path(path: str, tag: str, location: int = 0) -> str:
    """Return the path of the index of a shard under its name with a tag, given the one without."""
    stem = path.removeprefix(f"{INDEX_FOLDER}/").removesuffix(".index")
    return index_path(tagged_shard_name(stem if ".tar" in stem else f"{stem}.tar", tag), location)


def _open(outer: Callable[[], Target], inner: Callable[[], Target], tag: str, location: int) -> NamespaceTarget:
    return NamespaceTarget(outer(), inner(), tag=tag, location=location)

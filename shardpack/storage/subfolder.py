"""A folder of a store as a store of its own: how a dataset that lies within another, such as a layer, is reached.

Errors name an object as the whole store does: with the folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from shardpack.storage.base_store import Wrapper
from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Ranges, Store, Version, WritableStore


def subfolder(store: Store, folder: str) -> WritableStore:
    """Return the store of a folder of a store; makes no request, and shares its connections and what it counts.

    Args:
        store: It can be written to as far as this one can.
        folder: Name of the folder, its parts joined by "/".
    """
    if store.folder is not None:
        return LocalStore(os.path.join(store.folder, folder))
    return SubfolderStore(store, folder)


class SubfolderStore(Wrapper):
    """The objects of a store whose names begin with a folder, without it. Pickles if the store does."""

    def __init__(self, base: Store, folder: str) -> None:
        super().__init__(base)
        self._folder = folder
        self.location = f"{base.location}{folder}" if base.location.endswith("/") else f"{base.location}/{folder}"
        self.can_create, self.part_bytes = getattr(base, "can_create", False), getattr(base, "part_bytes", 0)

    def __reduce__(self) -> tuple[Any, ...]:
        return (SubfolderStore, (self._base, self._folder))

    @property
    def _writable(self) -> WritableStore:
        return cast("WritableStore", self._base)

    def _full(self, path: str) -> str:
        return f"{self._folder}/{path}"

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        return self._base.get_range(self._full(path), start=start, length=length)

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        return self._base.get_ranges(self._full(path), starts=starts, lengths=lengths)

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        return self._base.get_many(
            [Ranges(self._full(ranges.path), ranges.starts, ranges.lengths) for ranges in wanted]
        )

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        return self._base.get_pooled_range(self._full(path), start=start, length=length)

    def size(self, path: str) -> int:
        return self._base.size(self._full(path))

    def version(self, path: str) -> Version:
        return self._base.version(self._full(path))

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        return self._base.get(self._full(path), max_bytes=max_bytes)

    def map(self, path: str) -> Any | None:
        return self._base.map(self._full(path))

    def is_cached(self, path: str, start: int) -> bool:
        return self._base.is_cached(self._full(path), start)

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        self._base.prefetch(self._full(path), starts=starts, lengths=lengths)

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        self._writable.put(self._full(path), source, cache_control=cache_control)

    def create(self, path: str, source: bytes | Path) -> None:
        self._writable.create(self._full(path), source)

    def delete(self, path: str) -> None:
        self._writable.delete(self._full(path))

    def names(self) -> list[str]:
        """Return the names of the objects in the folder; a store that lists no folders is listed as a whole."""
        start = f"{self._folder}/"
        return [name.removeprefix(start) for name in self._listed() if name.startswith(start)]

    def _listed(self) -> list[str]:
        names_below = getattr(self._base, "names_below", None)
        return names_below(self._folder) if callable(names_below) else self._writable.names()

"""Objects in memory in front of a store: they replace its objects of the same names, or are added to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shardpack.storage.base_store import Wrapper
from shardpack.storage.buffer_pool import PooledBuffer
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Ranges, Store, Version


class OverlayStore(Wrapper):
    """The objects of a mapping, and all others of a store. What is read from memory is counted, too."""

    def __init__(self, objects: Mapping[str, bytes], base: Store) -> None:
        super().__init__(base)
        self._objects = dict(objects)
        self._in_memory = MemoryStore(self._objects, location=base.location)
        self._in_memory.stats = self.stats

    def __reduce__(self) -> tuple[Any, ...]:
        return (OverlayStore, (self._objects, self._base))

    def _store_of(self, path: str) -> Store:
        return self._in_memory if path in self._objects else self._base

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        return self._store_of(path).get_range(path, start=start, length=length)

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        return self._store_of(path).get_ranges(path, starts=starts, lengths=lengths)

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of all objects; those of the store are read together if none is in memory."""
        if any(ranges.path in self._objects for ranges in wanted):
            return super().get_many(wanted)
        return self._base.get_many(wanted)

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        return self._store_of(path).get_pooled_range(path, start=start, length=length)

    def size(self, path: str) -> int:
        return self._store_of(path).size(path)

    def version(self, path: str) -> Version:
        return self._store_of(path).version(path)

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        return self._store_of(path).get(path, max_bytes=max_bytes)

    def map(self, path: str) -> Any | None:
        return self._store_of(path).map(path)

    def is_cached(self, path: str, start: int) -> bool:
        return self._store_of(path).is_cached(path, start)

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        self._store_of(path).prefetch(path, starts=starts, lengths=lengths)

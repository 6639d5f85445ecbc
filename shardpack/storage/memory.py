"""Objects in memory, alone or in front of another store."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shardpack.errors import OutputExistsError, ShardNotFoundError
from shardpack.storage.base_store import BaseStore, check_size, raise_truncated
from shardpack.storage.protocols import Ranges, Store, Version


class MemoryStore(BaseStore):
    """Named byte strings. Names that are not here are looked up in `base`, if there is one."""

    can_create = True

    def __init__(self, objects: Mapping[str, bytes], *, base: Store | None = None, location: str = "memory://"):
        super().__init__(location if base is None else base.location)
        self._objects = dict(objects)
        self._creating = threading.Lock()
        self._base = base
        if base is not None:
            self.stats, self.prefetch_depth = base.stats, base.prefetch_depth
            self.merge_limits, self.checks_reads, self.remote = base.merge_limits, base.checks_reads, base.remote

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._objects, self._base, self.location))

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        if self._base is not None and path not in self._objects:
            return self._base.get_range(path, start=start, length=length)
        data = self._object(path)[start : start + length]
        if len(data) < length:
            raise_truncated(path, start, length, self.size(path))
        self.stats.add_requests(1, length)
        return data

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        if self._base is not None and path not in self._objects:
            return self._base.get_ranges(path, starts=starts, lengths=lengths)
        return super().get_ranges(path, starts=starts, lengths=lengths)

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        if self._base is not None and all(ranges.path not in self._objects for ranges in wanted):
            return self._base.get_many(wanted)
        return super().get_many(wanted)

    def size(self, path: str) -> int:
        if self._base is not None and path not in self._objects:
            return self._base.size(path)
        return len(self._object(path))

    def version(self, path: str) -> Version:
        if self._base is not None and path not in self._objects:
            return self._base.version(path)
        return super().version(path)

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return the object itself, not a copy."""
        if self._base is not None and path not in self._objects:
            return self._base.buffer(path, max_bytes=max_bytes)
        data = self._object(path)
        check_size(path, len(data), max_bytes)
        self.stats.add_requests(1, len(data))
        return data

    def map(self, path: str) -> Any | None:
        if self._base is not None and path not in self._objects:
            return self._base.map(path)
        return self._object(path)

    def is_cached(self, path: str, start: int) -> bool:
        if self._base is not None and path not in self._objects:
            return self._base.is_cached(path, start)
        return True

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        if self._base is not None and path not in self._objects:
            self._base.prefetch(path, starts=starts, lengths=lengths)

    def close(self) -> None:
        """Close `base`; the objects in memory stay."""
        if self._base is not None:
            self._base.close()

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:  # noqa: ARG002
        self._objects[path] = _content(source)

    def create(self, path: str, source: bytes | Path) -> None:
        data = _content(source)
        with self._creating:
            if path in self._objects:
                raise OutputExistsError(f"object exists: {path!r} in {self.location!r}; choose another name")
            self._objects[path] = data

    def delete(self, path: str) -> None:
        self._objects.pop(path, None)

    def names(self) -> list[str]:
        """Return the names in memory, without those of `base`."""
        return sorted(self._objects)

    def _object(self, path: str) -> bytes:
        try:
            return self._objects[path]
        except KeyError:
            raise ShardNotFoundError(f"no object {path!r} in {self.location!r}; check the name", path=path) from None


def _content(source: bytes | Path) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _rebuild(objects: Mapping[str, bytes], base: Store | None, location: str) -> MemoryStore:
    return MemoryStore(objects, base=base, location=location)

"""Objects in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardpack.errors import OutputExistsError, ShardNotFoundError
from shardpack.storage.base_store import BaseStore, check_size, raise_truncated


class MemoryStore(BaseStore):
    """Named byte strings."""

    can_create = True

    def __init__(self, objects: Mapping[str, bytes], *, location: str = "memory://"):
        super().__init__(location)
        self._objects = dict(objects)
        self._creating = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._objects, self.location))

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        data = self._object(path)[start : start + length]
        if len(data) < length:
            raise_truncated(path, start, length, self.size(path))
        self.stats.add_requests(1, length)
        return data

    def size(self, path: str) -> int:
        return len(self._object(path))

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return the object itself, not a copy."""
        data = self._object(path)
        check_size(path, len(data), max_bytes)
        self.stats.add_requests(1, len(data))
        return data

    def map(self, path: str) -> Any | None:
        return self._object(path)

    def is_cached(self, path: str, start: int) -> bool:  # noqa: ARG002 - the protocol's names
        return True

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
        return sorted(self._objects)

    def _object(self, path: str) -> bytes:
        try:
            return self._objects[path]
        except KeyError:
            raise ShardNotFoundError(f"no object {path!r} in {self.location!r}; check the name", path=path) from None


def _content(source: bytes | Path) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _rebuild(objects: Mapping[str, bytes], location: str) -> MemoryStore:
    return MemoryStore(objects, location=location)

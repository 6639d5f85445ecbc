"""Objects in memory, alone or laid over another store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shardpack.errors import CorruptShardError, ShardNotFoundError
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import RangeReader, Ranges, ReadStats


class MemoryStore:
    """Named byte strings. With `base`, names that are not here are looked for there."""

    merge_limits = MergeLimits(max_gap_bytes=0, max_request_bytes=0)
    checks_reads = False
    remote = False

    def __init__(self, objects: Mapping[str, bytes], *, base: RangeReader | None = None, location: str = "memory://"):
        self._objects = dict(objects)
        self._base = base
        self.location = location if base is None else base.location
        self.stats = ReadStats() if base is None else base.stats
        if base is not None:
            self.merge_limits, self.checks_reads, self.remote = base.merge_limits, base.checks_reads, base.remote

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (self._objects, self._base, self.location))

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `RangeReader.get_range`."""
        if self._base is not None and path not in self._objects:
            return self._base.get_range(path, start=start, length=length)
        data = self._object(path)[start : start + length]
        if len(data) < length:
            raise CorruptShardError(
                f"object is truncated: expected bytes up to {start + length}, it has {self.size(path)}; restore it",
                shard=path,
                offset=start,
            )
        self.stats.add_requests(1, length)
        return data

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `RangeReader.get_ranges`."""
        if self._base is not None and path not in self._objects:
            return self._base.get_ranges(path, starts=starts, lengths=lengths)
        return [self.get_range(path, start=a, length=n) for a, n in zip(starts, lengths, strict=True)]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `RangeReader.get_many`."""
        if self._base is not None and all(ranges.path not in self._objects for ranges in wanted):
            return self._base.get_many(wanted)
        return [self.get_ranges(ranges.path, starts=ranges.starts, lengths=ranges.lengths) for ranges in wanted]

    def size(self, path: str) -> int:
        """See `RangeReader.size`."""
        if self._base is not None and path not in self._objects:
            return self._base.size(path)
        return len(self._object(path))

    def buffer(self, path: str) -> Any:
        """See `RangeReader.buffer`; the object itself, not a copy."""
        if self._base is not None and path not in self._objects:
            return self._base.buffer(path)
        data = self._object(path)
        self.stats.add_requests(1, len(data))
        return data

    def map(self, path: str) -> Any | None:
        """See `RangeReader.map`."""
        if self._base is not None and path not in self._objects:
            return self._base.map(path)
        return self._object(path)

    def is_cached(self, path: str, start: int) -> bool:
        """See `RangeReader.is_cached`."""
        if self._base is not None and path not in self._objects:
            return self._base.is_cached(path, start)
        return True

    def prefetch(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> None:
        """See `RangeReader.prefetch`."""
        if self._base is not None and path not in self._objects:
            self._base.prefetch(path, starts=starts, lengths=lengths)

    def put(self, path: str, source: bytes | Path) -> None:
        """See `ObjectStore.put`."""
        self._objects[path] = source if isinstance(source, bytes) else source.read_bytes()

    def delete(self, path: str) -> None:
        """See `ObjectStore.delete`."""
        self._objects.pop(path, None)

    def names(self) -> list[str]:
        """See `ObjectStore.names`; without those of a base."""
        return sorted(self._objects)

    def _object(self, path: str) -> bytes:
        try:
            return self._objects[path]
        except KeyError:
            raise ShardNotFoundError(f"no object {path!r} in {self.location!r}; check the name", shard=path) from None


def _rebuild(objects: Mapping[str, bytes], base: RangeReader | None, location: str) -> MemoryStore:
    return MemoryStore(objects, base=base, location=location)

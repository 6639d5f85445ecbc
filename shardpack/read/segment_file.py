"""How the pages of shard table and key index are read: from a map of a local file, or by ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shardpack.errors import CorruptIndexError, CorruptShardError, ShardNotFoundError
from shardpack.format.manifest import segment_path
from shardpack.format.paged import Range, Segment
from shardpack.storage.file_map import drop_resident
from shardpack.storage.protocols import Ranges, Store

TRIMMED_BYTES = 64 << 20  # smaller files may stay mapped whole: faults cost more than they take


class SegmentFile:
    """One segment in a store. Safe in threads; the file is first touched when a range of it is read."""

    def __init__(self, store: Store, segment: Segment) -> None:
        self.path = segment_path(segment)
        self._store, self._segment = store, segment
        self._buffer: Any = None

    def load(self, begin: int, length: int) -> Any:
        """Return a range. Costs a request, or nothing where the file is mapped.

        Raises:
            ShardNotFoundError: The file is missing.
            CorruptIndexError: It has another length than the manifest says.
        """
        if self._store.remote:
            try:
                return self._store.get_range(self.path, start=begin, length=length)
            except ShardNotFoundError as error:
                raise self.missing() from error
        if self._buffer is None:
            self._buffer = self._open()
        return self._buffer[begin : begin + length]

    def _open(self) -> memoryview:
        expected = self._segment.num_bytes
        try:
            buffer = memoryview(self._store.buffer(self.path, max_bytes=expected))
            found = f"{len(buffer)} bytes"
        except ShardNotFoundError as error:
            raise self.missing() from error
        except CorruptShardError:  # none of it was read
            buffer, found = memoryview(b""), "more"
        if len(buffer) != expected:
            raise CorruptIndexError(
                f"index has a wrong length: expected {expected} bytes, got {found}; "
                'restore it, or rebuild it with "shardpack index --force"',
                path=self.path,
            )
        return buffer

    def missing(self) -> ShardNotFoundError:
        """Return the error that this file is missing."""
        return ShardNotFoundError(
            'file is missing; restore it, or rebuild it with "shardpack index --force"', path=self.path
        )

    def trim(self) -> None:
        """Let go of the memory of a large map, which would count as this process's."""
        if self._buffer is not None and self._segment.num_bytes > TRIMMED_BYTES:
            drop_resident(self._buffer.obj)


def fetch_needed(
    store: Store,
    files: Sequence[SegmentFile],
    needed: Callable[[], list[tuple[int, Range]]],
    put: Callable[[int, int, Any], None],
) -> None:
    """Fetch what look-ups will need, each step all at once. Costs nothing where files are mapped.

    Args:
        store: Holds the files.
        files: The segments, by number.
        needed: Returns the next step, as (segment, range); nothing at the end.
        put: Takes (segment, begin, bytes).
    """
    if not store.remote:
        return
    while step := needed():
        by_file: dict[int, list[Range]] = {}
        for number, wanted in step:
            by_file.setdefault(number, []).append(wanted)
        asked = [
            Ranges(files[number].path, [begin for begin, _ in ranges], [length for _, length in ranges])
            for number, ranges in by_file.items()
        ]
        try:
            found = store.get_many(asked)
        except ShardNotFoundError as error:
            raise files[next(iter(by_file))].missing() from error
        for (number, ranges), buffers in zip(by_file.items(), found, strict=True):
            for (begin, _), data in zip(ranges, buffers, strict=True):
                put(number, begin, data)

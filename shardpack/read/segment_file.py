"""Reads files that the manifest names: from a map of a local file, or by ranges of a remote one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shardpack.errors import CorruptIndexError, ObjectTooLargeError, ShardNotFoundError
from shardpack.format.layout import NamedFile, file_path
from shardpack.format.paged import Range
from shardpack.storage.file_map import drop_resident
from shardpack.storage.protocols import Ranges, Store

TRIMMED_BYTES = 64 << 20  # smaller files may stay in memory: page faults would cost more
_ADVICE = 'restore it, or run "shardpack repair", which makes it again or says what else can be done'


class SegmentFile:
    """A segment, or another file that the manifest names; opened when a range of it is first read. Safe in threads."""

    def __init__(self, store: Store, file: NamedFile) -> None:
        self.path = file_path(file)
        self._store, self._file = store, file
        self._buffer: Any = None

    def load(self, begin: int = 0, length: int | None = None) -> Any:
        """Return a range, without arguments the whole file. Costs a request, or nothing if the file is mapped.

        Raises:
            ShardNotFoundError: The file is missing.
            CorruptIndexError: The file has another length than the manifest says.
        """
        length = self._file.num_bytes if length is None else length
        if self._store.remote:
            try:
                return self._store.get_range(self.path, start=begin, length=length)
            except ShardNotFoundError as error:
                raise self.missing() from error
        if self._buffer is None:
            self._buffer = self._open()
        return self._buffer[begin : begin + length]

    def _open(self) -> memoryview:
        expected = self._file.num_bytes
        try:
            buffer = memoryview(self._store.get(self.path, max_bytes=expected))
            found = f"{len(buffer)} bytes"
        except ShardNotFoundError as error:
            raise self.missing() from error
        except ObjectTooLargeError:
            buffer, found = memoryview(b""), "more"
        if len(buffer) != expected:
            raise CorruptIndexError(
                f"index has a wrong length: expected {expected} bytes, got {found}; {_ADVICE}",
                path=self.path,
            )
        return buffer

    def missing(self) -> ShardNotFoundError:
        """Return the error for a missing file."""
        return ShardNotFoundError(f"file is missing; {_ADVICE}", path=self.path)

    def trim(self) -> None:
        """Release the pages of a large map, which count as this process's memory."""
        if self._buffer is not None and self._file.num_bytes > TRIMMED_BYTES:
            drop_resident(self._buffer.obj)


def fetch_needed(
    store: Store,
    files: Sequence[SegmentFile],
    needed: Callable[[], list[tuple[int, Range]]],
    put: Callable[[int, int, Any], None],
) -> None:
    """Fetch the ranges that look-ups will need, those of each step concurrently. Does nothing for a local store.

    Args:
        store: The store with the files.
        files: The segments, by number.
        needed: Returns the ranges of the next step, as (segment, range); an empty list at the end.
        put: Takes the bytes of a range, as (segment, begin, bytes).
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
            fetched = store.get_many(asked)
        except ShardNotFoundError as error:
            raise files[next(iter(by_file))].missing() from error
        for (number, ranges), buffers in zip(by_file.items(), fetched, strict=True):
            for (begin, _), data in zip(ranges, buffers, strict=True):
                put(number, begin, data)

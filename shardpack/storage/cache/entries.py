"""The entries of a cache: one file per cached range of one version of an object.

A file holds the bytes of the range, then one CRC32C per 64 KiB of them, as little-endian 32-bit numbers. It is
written once and renamed (`cache_folder.py`), so that reading needs no lock. An entry that is deleted meanwhile is a
miss, or is read to its end.
"""

from __future__ import annotations

import os
import re
import struct
import time
from contextlib import suppress
from typing import Any

from shardpack.format.checksum import crc32c
from shardpack.storage.buffer_pool import ExactBuffer
from shardpack.storage.cache.spans import Spans
from shardpack.storage.local_file import open_regular

ENTRY_NAME = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{1,15})")
_PIECE_BYTES = 64 << 10  # each has a checksum: reading a sample from the middle of a block reads little more
_ONE_READ_BYTES = 1 << 30  # one call reads at most 2 GiB
_TOUCH_SECONDS = 60.0
_RELIST_SECONDS = 1.0


class Entries:
    """The cached ranges of one version of one object. Safe in threads: only a listing of the folder ever changes.

    A range that was requested before is found by its file name. A range inside another one is found in
    the listing, which is at most a second old.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._label = "/".join(folder.split(os.sep)[-2:])
        self._spans = Spans()
        self._listed: tuple[int, float] | None = None  # (modification time of the folder, when to check it again)

    def entry(self, start: int, length: int) -> str:
        """Return the path of the entry for a range."""
        return os.path.join(self.folder, f"{start:x}-{length:x}")

    def may_hold(self, start: int, length: int) -> bool:
        """Return whether an entry for a range that contains this one exists."""
        return os.path.exists(self.entry(start, length)) or self._holding(start, start + length) is not None

    def read(self, start: int, length: int) -> bytes | None:
        """Return a range, or None if no undamaged entry contains it; a damaged entry is deleted."""
        data = self._read(start, length, 0, length)
        if data is None:
            span = self._holding(start, start + length)
            if span is not None:
                first, end = span
                data = self._read(first, end - first, start - first, length)
                if data is None:
                    self._spans = self._spans.without_span(first, end)
        return data

    def add(self, start: int, length: int) -> None:
        """Add a new entry to the listing. Of two simultaneous additions one may be missing until the next listing."""
        self._spans = self._spans.with_span(start, start + length)

    def checksums(self, start: int, length: int, data: Any, first: int = 0) -> bytes:
        """Return the CRC32C of each piece of `data`, which starts at piece `first` of the entry.

        Each is seeded with the name of the entry and the number of the piece: bytes in a wrong place do not match.
        """
        seed = crc32c(f"{self._label}/{start:x}-{length:x}".encode()) + first
        view = memoryview(data)
        sums = [
            crc32c(view[at : at + _PIECE_BYTES], (seed + number) & 0xFFFFFFFF)
            for number, at in enumerate(range(0, len(view), _PIECE_BYTES))
        ]
        return struct.pack(f"<{len(sums)}I", *sums)

    def _holding(self, start: int, end: int) -> tuple[int, int] | None:
        span = self._spans.holding(start, end)
        if span is None and self._is_outdated():
            self._list()
            span = self._spans.holding(start, end)
        return span

    def _is_outdated(self) -> bool:
        if self._listed is None:
            return True
        changed, due = self._listed
        return time.monotonic() >= due and _changed(self.folder) != changed

    def _list(self) -> None:
        began = time.monotonic()
        changed = _changed(self.folder)
        names: list[str] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            names = os.listdir(self.folder)
        matches = filter(None, map(ENTRY_NAME.fullmatch, names))
        pairs = [(int(match[1], 16), int(match[2], 16)) for match in matches]
        self._spans = Spans.of((start, start + length) for start, length in pairs)
        ended = time.monotonic()
        self._listed = changed, ended + max(_RELIST_SECONDS, 20 * (ended - began))

    def _read(self, start: int, length: int, offset: int, wanted: int) -> bytes | None:
        """Return `wanted` bytes from `offset` of the entry for a range; None if it is missing or damaged."""
        path = self.entry(start, length)
        try:
            descriptor = open_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            status = os.fstat(descriptor)
            first, last = offset // _PIECE_BYTES, -(-(offset + wanted) // _PIECE_BYTES)
            begin, end = first * _PIECE_BYTES, min(last * _PIECE_BYTES, length)
            data = sums = None
            if status.st_size == file_bytes(length):
                data = _read_at(descriptor, begin, end - begin)
                sums = _read_at(descriptor, length + 4 * first, 4 * (last - first))
        finally:
            os.close(descriptor)
        if data is None or self.checksums(start, length, data, first) != sums:
            with suppress(OSError):
                os.unlink(path)
            return None
        if abs(time.time() - status.st_mtime) > _TOUCH_SECONDS:
            with suppress(OSError):  # another user's entry, or evicted meanwhile
                os.utime(path)
        return data[offset - begin : offset - begin + wanted]


def file_bytes(length: int) -> int:
    """Return the length of the file of an entry with so many bytes."""
    return length + 4 * -(-length // _PIECE_BYTES)


def _read_at(descriptor: int, start: int, length: int) -> bytes:
    """Return up to `length` bytes of a file; moves the position of the descriptor."""
    os.lseek(descriptor, start, os.SEEK_SET)
    if length <= _ONE_READ_BYTES:
        return os.read(descriptor, length)
    buffer, got = ExactBuffer(length), 0
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        while count := file.readinto(buffer.view[got : got + _ONE_READ_BYTES]):
            got += count
    return buffer.finish() if got == length else b""


def _changed(folder: str) -> int:
    try:
        return os.stat(folder).st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return -1

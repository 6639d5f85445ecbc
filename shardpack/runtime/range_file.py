"""Bytes that are had by ranges, as a file object that libraries read from."""

from __future__ import annotations

import io
from abc import abstractmethod


class RangeFile(io.RawIOBase):
    """Reads ranges, in order or by seeking. Not safe in threads."""

    def __init__(self, num_bytes: int) -> None:
        """Read `num_bytes` bytes."""
        super().__init__()
        self._size, self._at = num_bytes, 0

    @abstractmethod
    def get_range(self, start: int, length: int) -> bytes:
        """Return some bytes; an empty range is never asked for."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def size(self) -> int:
        """Return the number of bytes."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end. Raises what `get_range` raises."""
        rest = max(0, self._size - self._at)
        length = rest if size is None or size < 0 else min(size, rest)
        data = self.get_range(self._at, length) if length else b""
        self._at += length
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any writable buffer, as memoryview takes it
        """Fill a buffer with the next bytes; return how many there were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

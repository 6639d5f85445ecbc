"""A file of any store, as an object that libraries read from."""

from __future__ import annotations

import io

from shardpack.storage.protocols import RangeReader


class StoredFile(io.RawIOBase):
    """Reads an object by ranges, in order or by seeking."""

    def __init__(self, store: RangeReader, name: str) -> None:
        """Read an object of a store."""
        super().__init__()
        self._store, self._name, self._at = store, name, 0
        self._size = store.size(name)

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
        """Return the length of the object."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end."""
        rest = max(0, self._size - self._at)
        length = rest if size is None or size < 0 else min(size, rest)
        data = bytes(self._store.get_range(self._name, start=self._at, length=length)) if length else b""
        self._at += length
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # any writable buffer, as memoryview takes it
        """Fill a buffer with the next bytes; return how many there were."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

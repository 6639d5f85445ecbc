"""Ranges of a file, fetched beforehand, as an object that libraries read from."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from shardpack.errors import CorruptIndexError


class SparseFile(io.RawIOBase):
    """A file of which some ranges are known; reading any other byte is an error. Not safe in threads."""

    def __init__(self, num_bytes: int, starts: Sequence[int], pieces: Sequence[Any], *, path: str) -> None:
        """Take the pieces of a file.

        Args:
            num_bytes: Length of the file.
            starts: (n) Where the pieces begin, ascending.
            pieces: (n) Their bytes.
            path: Name of the file, for errors.
        """
        super().__init__()
        self._size, self._starts, self._pieces, self._path = num_bytes, list(starts), pieces, path
        self._at = 0

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
        """Return the length of the file."""
        return self._size

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, fewer at the end.

        Raises:
            CorruptIndexError: They were not fetched, as nothing said that they would be needed.
        """
        rest = max(0, self._size - self._at)
        length = rest if size is None or size < 0 else min(size, rest)
        if not length:
            return b""
        number = bisect_right(self._starts, self._at) - 1
        begin = self._at - self._starts[number] if number >= 0 else 0
        if number < 0 or begin + length > len(self._pieces[number]):
            raise CorruptIndexError(
                "file of the label table is damaged: its pages are not where its footer says; restore it, or make the "
                'table anew with "shardpack table --force"',
                path=self._path,
                offset=self._at,
            )
        self._at += length
        return bytes(self._pieces[number][begin : begin + length])

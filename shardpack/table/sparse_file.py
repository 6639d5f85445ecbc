"""A file of which some ranges are fetched beforehand, and what tells which: objects that libraries read from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from shardpack.errors import CorruptIndexError
from shardpack.runtime.range_file import RangeFile


class SparseFile(RangeFile):
    """A file of which some ranges are known; reading any other byte is an error. Not safe in threads."""

    def __init__(self, num_bytes: int, starts: Sequence[int], pieces: Sequence[Any], *, path: str) -> None:
        """Take the pieces of a file.

        Args:
            num_bytes: Length of the file.
            starts: (n) Where the pieces begin, ascending.
            pieces: (n) Their bytes.
            path: Name of the file, for errors.
        """
        super().__init__(num_bytes)
        self._starts, self._pieces, self._path = list(starts), pieces, path

    def get_range(self, start: int, length: int) -> bytes:
        """Return some bytes of the file.

        Raises:
            CorruptIndexError: It was not fetched, as nothing said that it would be needed.
        """
        number = bisect_right(self._starts, start) - 1
        begin = start - self._starts[number] if number >= 0 else 0
        if number < 0 or begin + length > len(self._pieces[number]):
            raise CorruptIndexError(
                "file of the label table is damaged: its pages are not where its footer says; restore it, or make the "
                'table anew with "shardpack table --force"',
                path=self._path,
                offset=start,
            )
        return bytes(self._pieces[number][begin : begin + length])


class Rehearsal(RangeFile):
    """A file of zeros that tells which ranges of it were read. Not safe in threads.

    Attributes:
        ranges: (start, length) of each.
    """

    def __init__(self, num_bytes: int) -> None:
        """Stand for a file of `num_bytes` bytes."""
        super().__init__(num_bytes)
        self.ranges: set[tuple[int, int]] = set()

    def get_range(self, start: int, length: int) -> bytes:
        """Return zeros."""
        self.ranges.add((start, length))
        return bytes(length)

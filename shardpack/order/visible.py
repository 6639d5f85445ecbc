"""Which samples of an edited dataset are visible: its stored positions without the deleted ones, and their numbers.

    stored      0  1  2  3  4  5  6        deleted  1  4
    position    0     1  2     3  4        skips    1  3     position + number of skips up to it = stored

Memory and set-up are in proportion to what is deleted.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np

from shardpack.order.runs import PIECE, Runs
from shardpack.runtime.arrays import Integers

_BUCKETS = 4  # per deleted sample, of a small number; 2 of a large one
_SMALL = 1 << 14  # deleted samples up to which tables are lists: twice as fast as arrays, four times as large


class Visible:
    """The stored positions that are not deleted, ascending: a sequence of integers. Immutable, safe in threads.

    Attributes:
        num_stored: Stored samples, the deleted ones included.
        deleted: (d) stored positions of the deleted samples, ascending.
    """

    def __init__(self, num_stored: int, deleted: Integers) -> None:
        self.num_stored, self.deleted = num_stored, deleted
        self._length = num_stored - len(deleted)
        self._skip_array = deleted - np.arange(len(deleted))  # (d) the position that each deleted sample comes before
        is_small = len(deleted) <= _SMALL
        # A table of how many skips come before each of some equal stretches of positions: most hold none themselves,
        # so that a look-up costs 75 ns instead of the 190 of a bisection (1,000 of 10,000,000, 2-core VM).
        stretches = max(1, (_BUCKETS if is_small else _BUCKETS // 2) * len(deleted))
        self._shift = max(0, (max(1, self._length) // stretches).bit_length() - 1)
        before = np.searchsorted(self._skip_array, np.arange((self._length >> self._shift) + 2) << self._shift)
        self._before: Any = before.tolist() if is_small else memoryview(before.astype(np.int64))
        self._skips: Any = self._skip_array.tolist() if is_small else memoryview(self._skip_array)
        self._deleted: Any = deleted.tolist() if is_small else memoryview(deleted)

    def __len__(self) -> int:
        return self._length

    # From positions to stored positions

    def __getitem__(self, position: int) -> int:
        """Return the stored position of a position, 0 <= position < len(self): the hot path of `ds[i]`."""
        before = self._before
        stretch = position >> self._shift
        skipped, end = before[stretch], before[stretch + 1]
        if skipped != end:
            skipped = bisect_right(self._skips, position, skipped, end)
        stored: int = position + skipped
        return stored

    def at(self, positions: Integers) -> Integers:
        """Return the stored positions of positions, 0 <= position < len(self)."""
        if not len(positions):
            return positions
        ends = np.searchsorted(self._skip_array, (positions.min(), positions.max()), side="right")
        if ends[0] == ends[1]:  # nothing is deleted between them, as in most blocks
            return positions + int(ends[0])
        return positions + np.searchsorted(self._skip_array, positions, side="right")

    def holds(self, stored: int) -> bool:
        """Return whether a stored position is visible."""
        at = bisect_left(self._deleted, stored)
        return 0 <= stored < self.num_stored and (at == len(self._deleted) or self._deleted[at] != stored)

    # From stored positions to positions

    def position_of(self, stored: int) -> int:
        """Return the position of a visible stored position."""
        return stored - bisect_left(self._deleted, stored)

    def positions_of(self, stored: Integers) -> Integers:
        """Return the positions of visible stored positions."""
        return stored - np.searchsorted(self.deleted, stored)

    # All of them

    def pieces(self) -> Iterator[Integers]:
        """Yield all stored positions in order, some at a time."""
        for first in range(0, len(self), PIECE):
            yield self.at(np.arange(first, min(first + PIECE, len(self))))

    def is_ascending(self) -> bool:
        """Return whether each stored position is larger than the one before it."""
        return True

    def runs(self) -> Runs:
        """Return all stored positions as runs."""
        return self.keep(Runs.of_range(range(self.num_stored)))

    def keep(self, runs: Runs) -> Runs:
        """Return the visible ones of ascending runs of stored positions without gaps inside."""
        begin, end = runs.begin, runs.begin + runs.count
        owner = np.searchsorted(begin, self.deleted, side="right") - 1
        inside = self.deleted[(owner >= 0) & (self.deleted < end[owner])] if len(begin) else self.deleted[:0]
        begins, ends = np.sort(np.concatenate([begin, inside + 1])), np.sort(np.concatenate([end, inside]))
        kept = begins < ends
        return Runs(begins[kept], (ends - begins)[kept])

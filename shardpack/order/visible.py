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

_STRETCHES = 16, 4  # per deleted sample, where these are few and where they are many
_FEW = 1 << 14  # deleted samples up to which tables are lists: twice as fast as arrays, and four times as large


class Visible:
    """The stored positions that are not deleted, ascending: a sequence of integers. Immutable, safe in threads.

    Attributes:
        num_stored: Stored samples, the deleted ones included.
        deleted: (d) stored positions of the deleted samples, ascending.
        skipped: For each stretch of 2^`shift` positions the number of skips up to them; -1 where one is inside, so that
            `[]` must find it. Public so that the hot path of `ds[i]` saves a call.
        shift: Position p is in the stretch p >> `shift`.
    """

    def __init__(self, num_stored: int, deleted: Integers) -> None:
        self.num_stored, self.deleted = num_stored, deleted
        self._length = num_stored - len(deleted)
        self._skip_array = deleted - np.arange(len(deleted))  # (d) the position that each deleted sample comes before
        are_few = len(deleted) <= _FEW
        stretches = _STRETCHES[0 if are_few else 1] * max(1, len(deleted))
        self.shift = max(0, (self._length // stretches).bit_length() - 1)
        starts = np.arange((self._length >> self.shift) + 2) << self.shift
        before = np.searchsorted(self._skip_array, starts)
        skipped = np.where(before[1:] == before[:-1], before[:-1], -1)
        if not self.shift:  # stretches of one position: the skips that it comes behind are known
            skipped = before[1:]
        self.skipped: Any
        self._skips: Any
        self._deleted: Any
        if are_few:
            numbers = [*range(len(deleted) + 1), -1]  # one object each, as equal numbers stand side by side
            self.skipped = list(map(numbers.__getitem__, skipped.tolist()))
            self._skips, self._deleted = self._skip_array.tolist(), deleted.tolist()
        else:
            self.skipped = memoryview(skipped.astype(np.int32 if len(deleted) >> 31 == 0 else np.int64))
            self._skips, self._deleted = memoryview(self._skip_array), memoryview(deleted)

    def __len__(self) -> int:
        return self._length

    # From positions to stored positions

    def __getitem__(self, position: int) -> int:
        """Return the stored position of a position, 0 <= position < len(self).

        A look-up in `skipped` takes 60 ns, a bisection 190 (1,000 of 10,000,000 deleted, 2-core VM).
        """
        skipped = self.skipped[position >> self.shift]
        if skipped < 0:
            skipped = bisect_right(self._skips, position)
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

    def only(self, ascending: Integers) -> Integers:
        """Return the visible ones of ascending, different stored positions: a look-up for each deleted one."""
        at = np.searchsorted(ascending, self.deleted)
        is_there = at < len(ascending)
        at, deleted = at[is_there], self.deleted[is_there]
        return np.delete(ascending, at[ascending[at] == deleted])

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

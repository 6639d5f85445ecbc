"""Positions that take no memory each: a slice of a dataset, or the ranges of a split."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from shardpack.runtime.arrays import Integers, narrowest

PIECE = 1 << 16  # positions made at once


class Runs:
    """Runs of positions, one behind the other: a sequence of integers. Immutable.

    One run may be evenly spaced in any way, also backwards. Several ascend, do not overlap, and have no gaps inside.

    Attributes:
        begin: (k) first position of each run.
        count: (k) positions in each run, at least one.
        step: Distance between neighbours in a run; 1 if there are several runs.
    """

    def __init__(self, begin: Sequence[int] | Integers, count: Sequence[int] | Integers, step: int = 1) -> None:
        self.begin, self.count, self.step = np.asarray(begin, np.int64), np.asarray(count, np.int64), step
        # (k + 1) number of each run's first position, and the length
        self._first = np.zeros(len(self.begin) + 1, np.int64)
        np.cumsum(self.count, out=self._first[1:])
        self._firsts: Any = memoryview(self._first)  # for scalar access
        self._length = int(self._first[-1])

    @classmethod
    def of_range(cls, positions: range) -> Runs:
        """Return the positions of a range."""
        return cls([positions.start], [len(positions)], positions.step) if positions else cls([], [])

    def __reduce__(self) -> tuple[type[Runs], tuple[Any, Any, int]]:
        return Runs, (narrowest(self.begin), narrowest(self.count), self.step)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        run = bisect_right(self._firsts, item) - 1
        position: int = int(self.begin[run]) + (item - self._firsts[run]) * self.step
        return position

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        if len(self.begin) == 1:
            return np.asarray(self.step * items + self.begin[0], np.int64)
        run = np.searchsorted(self._first, items, side="right") - 1
        return self.begin[run] + (items - self._first[run])

    def holds(self, position: int) -> bool:
        """Return whether a position is in one of the runs."""
        if len(self.begin) == 1:
            begin = int(self.begin[0])
            return position in range(begin, begin + self._length * self.step, self.step)
        run = int(np.searchsorted(self.begin, position, side="right")) - 1
        return run >= 0 and position < int(self.begin[run] + self.count[run])

    def pieces(self) -> Iterator[Integers]:
        """Yield all positions in order, some at a time."""
        for first in range(0, len(self), PIECE):
            yield self.at(np.arange(first, min(first + PIECE, len(self))))

    def is_ascending(self) -> bool:
        """Return whether each position is larger than the one before it."""
        return self.step > 0 or len(self) <= 1

    def slice(self, items: range) -> Runs | None:
        """Return the positions of a range of items, 0 <= item < len(self); None if they are not such runs."""
        if not items:
            return Runs([], [])
        if len(self.begin) == 1:
            return Runs([self[items.start]], [len(items)], self.step * items.step)
        if items.step != 1:
            return None
        first, last = (int(np.searchsorted(self._first, at, side="right")) - 1 for at in (items.start, items[-1]))
        begin, count = self.begin[first : last + 1].copy(), self.count[first : last + 1].copy()
        begin[0] += items.start - self._firsts[first]
        count[0] -= items.start - self._firsts[first]
        count[-1] -= self._firsts[last + 1] - items.stop
        return Runs(begin, count)

"""Positions that take no memory each: a slice of a dataset, or the ranges of a split."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence

import numpy as np

from shardpack.runtime.arrays import Integers

PIECE = 1 << 16  # positions made at once


class Runs:
    """Runs of evenly spaced positions, one behind the other: a sequence of integers. Immutable.

    Attributes:
        begin: (k) first position of each run.
        count: (k) positions in each run, at least one.
        step: Distance between neighbours in a run.
    """

    def __init__(self, begin: Sequence[int] | Integers, count: Sequence[int] | Integers, step: int = 1) -> None:
        self.begin, self.count, self.step = np.asarray(begin, np.int64), np.asarray(count, np.int64), step
        self._begins = self.begin.tolist()
        self._first: list[int] = [0, *np.cumsum(self.count).tolist()]  # (k + 1) number of each run's first position

    @classmethod
    def of_range(cls, positions: range) -> Runs:
        """Return the positions of a range."""
        return cls([positions.start], [len(positions)], positions.step) if positions else cls([], [])

    def __reduce__(self) -> tuple[type[Runs], tuple[Integers, Integers, int]]:
        return Runs, (self.begin, self.count, self.step)

    def __len__(self) -> int:
        return self._first[-1]

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        run = bisect_right(self._first, item) - 1
        return int(self._begins[run] + (item - self._first[run]) * self.step)

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        if len(self._begins) == 1:
            return np.asarray(self.step * items + self._begins[0], np.int64)
        first = np.array(self._first, np.int64)
        run = np.searchsorted(first, items, side="right") - 1
        return self.begin[run] + self.step * (items - first[run])

    def holds(self, position: int) -> bool:
        """Return whether one of the runs has a position."""
        return any(
            position in range(begin, begin + count * self.step, self.step)
            for begin, count in zip(self._begins, self.count.tolist(), strict=True)
        )

    def pieces(self) -> Iterator[Integers]:
        """Yield all positions in order, some at a time."""
        for first in range(0, len(self), PIECE):
            yield self.at(np.arange(first, min(first + PIECE, len(self))))

    def is_everything(self, total: int) -> bool:
        """Return whether these are the positions 0 to `total` in ascending order."""
        return len(self) == total and self.step == 1 and self._begins == ([0] if total else [])

    def slice(self, items: range) -> Runs | None:
        """Return the positions of a range of items, 0 <= item < len(self); None if they are not evenly spaced runs."""
        if not items:
            return Runs([], [])
        if len(self._begins) == 1:
            return Runs([self[items.start]], [len(items)], self.step * items.step)
        if items.step != 1:
            return None
        first = np.array(self._first, np.int64)
        low, high = np.maximum(first[:-1], items.start), np.minimum(first[1:], items.stop)
        kept = low < high
        return Runs((self.begin + (low - first[:-1]) * self.step)[kept], (high - low)[kept], self.step)

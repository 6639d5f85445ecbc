"""Positions in any order, also repeated, in as few bytes each as they need."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.order.runs import PIECE
from shardpack.runtime.arrays import Integers, narrowest


class Listed:
    """An array of positions: a sequence of integers. Immutable.

    Attributes:
        values: (n) the positions, as 4 bytes each where they fit.
    """

    def __init__(self, positions: npt.NDArray[Any]) -> None:
        self.values = narrowest(positions)

    def __reduce__(self) -> tuple[type[Listed], tuple[npt.NDArray[Any]]]:
        return Listed, (self.values,)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        return int(self.values[item])

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        return self.values[items].astype(np.int64)

    def holds(self, position: int) -> bool:
        """Return whether a position is in the list. O(log n); the first call on an unsorted list sorts a copy of it."""
        if not 0 <= position <= np.iinfo(self.values.dtype).max:
            return False
        at = int(np.searchsorted(self._sorted, self.values.dtype.type(position)))
        return at < len(self._sorted) and int(self._sorted[at]) == position

    @cached_property
    def _sorted(self) -> npt.NDArray[Any]:
        return self.values if bool((self.values[1:] >= self.values[:-1]).all()) else np.sort(self.values)

    @cached_property
    def earlier(self) -> npt.NDArray[Any] | None:
        """(n) how many items before each one have its position; None if all positions differ.

        Sorts a copy. If positions repeat, 4 bytes for each item are kept.
        """
        ordered = np.sort(self.values)
        if bool((ordered[1:] > ordered[:-1]).all()):
            return None
        order = np.argsort(self.values, kind="stable")
        ordered, numbers = self.values[order], np.arange(len(order))
        is_first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        earlier = np.empty_like(numbers)
        earlier[order] = numbers - np.maximum.accumulate(np.where(is_first, numbers, 0))
        return narrowest(earlier)

    def pieces(self) -> Iterator[Integers]:
        """Yield all positions in order, some at a time."""
        for begin in range(0, len(self.values), PIECE):
            yield self.values[begin : begin + PIECE].astype(np.int64)

    def is_ascending(self) -> bool:
        """Return whether each position is larger than the one before it."""
        return bool((self.values[1:] > self.values[:-1]).all())

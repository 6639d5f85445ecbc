"""Which of many cached ranges holds another: pure integers, no I/O."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field


def _integers() -> array[int]:
    return array("q")


@dataclass(frozen=True, slots=True)
class Spans:
    """Half-open ranges of which none lies within another. Never changes: threads may share it without a lock.

    Sorted by start they are then sorted by end too, so that the last one which starts early enough
    also reaches furthest. Takes 16 bytes a range.
    """

    starts: array[int] = field(default_factory=_integers)
    ends: array[int] = field(default_factory=_integers)

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Spans:
        """Return those of (start, end) that lie within no other."""
        starts, ends, reach = _integers(), _integers(), -1
        for start, end in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
            if end > reach:
                starts.append(start)
                ends.append(end)
                reach = end
        return cls(starts, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def holding(self, start: int, end: int) -> tuple[int, int] | None:
        """Return one that holds all of start to end, or None. O(log n)."""
        i = bisect_right(self.starts, start) - 1
        if i >= 0 and self.ends[i] >= end:
            return self.starts[i], self.ends[i]
        return None

    def with_span(self, start: int, end: int) -> Spans:
        """Return these and one more, without those that lie within it."""
        i = bisect_right(self.starts, start)
        if i and self.ends[i - 1] >= end:
            return self
        if i and self.starts[i - 1] == start:
            i -= 1
        j = bisect_right(self.ends, end, i)
        return Spans(
            self.starts[:i] + array("q", [start]) + self.starts[j:],
            self.ends[:i] + array("q", [end]) + self.ends[j:],
        )

    def without_span(self, start: int, end: int) -> Spans:
        """Return these without one; what lay within that one is not known any more."""
        i = bisect_left(self.starts, start)
        if i == len(self) or (self.starts[i], self.ends[i]) != (start, end):
            return self
        return Spans(self.starts[:i] + self.starts[i + 1 :], self.ends[:i] + self.ends[i + 1 :])

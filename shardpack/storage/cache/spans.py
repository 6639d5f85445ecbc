"""Find the cached range that contains another one: pure integers, no I/O."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field


def _integers() -> array[int]:
    return array("q")


@dataclass(frozen=True, slots=True)
class Spans:
    """Half-open ranges, none of which contains another. Immutable: threads may share it without a lock.

    Sorted by start they are also sorted by end, so of all that start early enough the last one reaches
    furthest. Takes 16 bytes per range.
    """

    starts: array[int] = field(default_factory=_integers)
    ends: array[int] = field(default_factory=_integers)

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> Spans:
        """Return the (start, end) pairs that no other one contains."""
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
        """Return a range that contains start to end, or None. O(log n)."""
        i = bisect_right(self.starts, start) - 1
        if i >= 0 and self.ends[i] >= end:
            return self.starts[i], self.ends[i]
        return None

    def with_span(self, start: int, end: int) -> Spans:
        """Return a copy with one more range, without the ranges that it contains."""
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
        """Return a copy without one range. Ranges that it contained are not restored."""
        i = bisect_left(self.starts, start)
        if i == len(self) or (self.starts[i], self.ends[i]) != (start, end):
            return self
        return Spans(self.starts[:i] + self.starts[i + 1 :], self.ends[:i] + self.ends[i + 1 :])

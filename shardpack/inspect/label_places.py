"""Where the names of dots stand in a plot, so that all can be read: pure arithmetic.

dots and widths --nearest free place--> corners of texts
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

_GAP = 8  # pixels between a dot and its name
_STEP, _FURTHEST = 8, 320  # pixels by which, and how far, a name may move away
_CLEAR = 4  # pixels around a dot that no name covers


class Box(NamedTuple):
    """A rectangle of pixels, half-open."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Box) -> bool:
        """Return whether the two share a pixel."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )

    def contains(self, other: Box) -> bool:
        """Return whether all of the other is in this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


def place_labels(dots: Sequence[tuple[int, int]], widths: Sequence[int], height: int, area: Box) -> list[Box]:
    """Return where each text stands: near its dot, inside the area, over no other text and no dot.

    A text that finds no free place stands to the right of its dot all the same.

    Args:
        dots: (n) columns and rows of the dots.
        widths: (n) widths of the texts.
        height: Height of every text.
        area: Where texts may be.
    """
    taken = [Box(x - _CLEAR, y - _CLEAR, x + _CLEAR + 1, y + _CLEAR + 1) for x, y in dots]
    placed = []
    for dot, width in zip(dots, widths, strict=True):
        places = _places(dot, width, height)
        free = (one for one in places if area.contains(one) and not any(map(one.overlaps, taken)))
        placed.append(next(free, places[0]))
        taken.append(placed[-1])
    return placed


def _places(dot: tuple[int, int], width: int, height: int) -> list[Box]:
    """Return places beside a dot, the nearest first."""
    column, row = dot
    gaps, rises = range(_GAP, _FURTHEST, _STEP), range(-_FURTHEST, _FURTHEST + 1, _STEP)
    nearest_first = sorted(product(gaps, rises), key=lambda way: math.hypot(*way))
    return [
        Box(left, row + rise - height // 2, left + width, row + rise - height // 2 + height)
        for gap, rise in nearest_first
        for left in (column + gap, column - gap - width)
    ]

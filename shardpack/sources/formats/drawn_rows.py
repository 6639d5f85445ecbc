"""A few rows of some units, by which the roles of columns are chosen; and how many rows there are, in words."""

from __future__ import annotations

from collections.abc import Sequence

from shardpack.sources.row_source import Unit

DRAWN_UNITS = 8


def drawn_units(count: int, most: int = DRAWN_UNITS) -> list[int]:
    """Return the numbers of at most `most` of `count` units: the first, and others evenly drawn."""
    drawn = min(count, most)
    return [number * count // drawn for number in range(drawn)]


def counted_rows(units: Sequence[Unit], noun: str) -> str:
    """Return how many rows units have, such as "1,200 records"; "records" if only reading all of them tells."""
    counts = [unit.num_rows for unit in units if unit.num_rows is not None]
    if len(counts) < len(units):
        return f"{noun}s"
    return f"{sum(counts):,} {noun}{'s' * (sum(counts) != 1)}"

"""Rows and units of foreign formats."""

from __future__ import annotations

from dataclasses import dataclass

from shardpack.sources.row_source import Unit, num_rows


@dataclass(frozen=True)
class _Units:
    units: tuple[Unit, ...]


def test_rows_are_counted_if_all_units_know_theirs():
    assert num_rows(_Units((Unit("a", 2, 10), Unit("b", 3, 10)))) == 5
    assert num_rows(_Units((Unit("a", 2, 10), Unit("b", None, 10)))) is None
    assert num_rows(_Units(())) == 0

"""Which units some rows are drawn from, and how many rows there are, in words."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.row_source import Unit


@pytest.mark.parametrize(("count", "drawn"), [(0, []), (1, [0]), (3, [0, 1, 2]), (20, [0, 2, 5, 7, 10, 12, 15, 17])])
def test_units_are_drawn_evenly(count, drawn):
    assert drawn_units(count) == drawn


def test_rows_are_counted_in_words():
    assert counted_rows([Unit("a", 1200, 0)], "record") == "1,200 records"
    assert counted_rows([Unit("a", 1, 0), Unit("b", 0, 0)], "record") == "1 record"
    assert counted_rows([Unit("a", 1, 0), Unit("b", None, 0)], "record") == "records"

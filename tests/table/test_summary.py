"""Counts and means of each value are those of a plain loop."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.table.summary import columns_of_summary, summarise

ROWS = st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.none() | st.integers(1, 9)), max_size=8)


@given(ROWS)
def test_counts_and_means(rows):
    sizes = pa.array([size for _, size in rows], pa.int64())
    classes = pa.array([name for name, _ in rows], pa.string())
    table = pa.table({"class": classes, "width": sizes, "height": sizes, "bytes": sizes})
    found = summarise(table, "class")
    assert sum(one.num_samples for one in found) == len(rows)
    assert [one.num_samples for one in found] == sorted((one.num_samples for one in found), reverse=True)
    for one in found:
        own = [size for name, size in rows if name == one.value]
        known = [size for size in own if size is not None]
        assert one.num_samples == len(own)
        expected = pytest.approx(sum(known) / len(known)) if known else None
        assert (one.mean_width, one.mean_height, one.mean_bytes) == (expected, expected, expected)


def test_columns_of_own_facts_and_of_lists():
    assert columns_of_summary("width") == ["width", "height", "bytes"]
    numbers = pa.array([3, 3])
    table = pa.table({"width": numbers, "height": numbers, "bytes": numbers, "tags": pa.array([["a"], []])})
    (one,) = summarise(table, "width")
    assert (one.value, one.num_samples, one.mean_width) == (3, 2, 3.0)
    with pytest.raises(OptionError, match="holds lists or objects"):
        summarise(table, "tags")

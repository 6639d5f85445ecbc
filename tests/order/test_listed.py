"""Lists of positions in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.listed import Listed
from tests.order.sequences import check_sequence


@given(st.lists(st.integers(0, 150), max_size=30))
def test_a_sequence_of_positions(positions):
    check_sequence(Listed(np.array(positions, np.int64)), positions)


@pytest.mark.parametrize(("largest", "size"), [((1 << 32) - 1, 4), (1 << 32, 8)])
def test_numbers_take_four_bytes_where_they_fit(largest, size):
    found = Listed(np.array([5, largest, 0]))
    assert found.values.itemsize == size
    check_sequence(found, [5, largest, 0])
    assert found.holds(largest)
    assert not found.holds(1 << 40)

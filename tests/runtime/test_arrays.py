"""Arrays of integers in as few bytes as they need."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.runtime.arrays import narrowest


@pytest.mark.parametrize(
    ("numbers", "size"), [([], 8), ([0, 5], 4), ([(1 << 32) - 1], 4), ([1 << 32], 8), ([-1], 8), ([3, -1, 1 << 40], 8)]
)
def test_numbers_take_four_bytes_where_they_fit(numbers, size):
    found = narrowest(np.array(numbers, np.int64))
    assert found.itemsize == size
    assert found.tolist() == numbers
    assert narrowest(found) is found

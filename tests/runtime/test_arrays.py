"""Arrays of integers in as few bytes as they need, and objects by their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.runtime.arrays import each_of, narrowest


@pytest.mark.parametrize(
    ("numbers", "size"), [([], 8), ([0, 5], 4), ([(1 << 32) - 1], 4), ([1 << 32], 8), ([-1], 8), ([3, -1, 1 << 40], 8)]
)
def test_numbers_take_four_bytes_where_they_fit(numbers, size):
    found = narrowest(np.array(numbers, np.int64))
    assert found.itemsize == size
    assert found.tolist() == numbers
    assert narrowest(found) is found


@pytest.mark.parametrize("numbers", [[], [1], [1, 1, 1], [2, 0, 1, 2]])
def test_objects_by_their_numbers(numbers):
    objects = [b"abc", None, b"de"]  # numpy would take the bytes for text
    assert list(each_of(objects, np.array(numbers, np.int64))) == [objects[number] for number in numbers]

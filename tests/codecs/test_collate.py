"""What is stacked, and what stays a list."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.codecs.collate import stacked


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], np.int64),
        ([1.5, 2.0], np.float64),
        ([True, False], np.bool_),
        ([np.float32(1), np.float32(2)], np.float32),
        ([np.zeros((2, 3), np.uint8)] * 2, np.uint8),
    ],
)
def test_values_alike_become_one_array(values, dtype):
    found = stacked(values)
    assert found.dtype == dtype
    assert found.flags.c_contiguous
    assert np.array_equal(found, np.array(values))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None, None],
        [1, None],
        [1, 2.0],
        [True, 1],
        ["a", "b"],
        [b"a", b"b"],
        [{"a": 1}],
        [[1], [2]],
        [2**63, 1],
        [np.zeros(2), np.zeros(3)],
        [np.zeros(2, np.uint8), np.zeros(2)],
    ],
)
def test_other_values_stay_a_list(values):
    assert stacked(values) is values


def test_tensors():
    torch = pytest.importorskip("torch")
    assert stacked([torch.zeros(2, 3), torch.ones(2, 3)]).shape == (2, 2, 3)
    uneven = [torch.zeros(2), torch.zeros(3)]
    assert stacked(uneven) is uneven

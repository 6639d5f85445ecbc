"""The column that leads from a base to a layer: whole, by ranges, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import CorruptIndexError
from shardpack.format import container
from shardpack.format.layer_positions import (
    check_layer_positions,
    encode_layer_positions,
    layer_column,
    parse_layer_positions,
)

COLUMN = [0, 3, 1, 0, 2]
DATA = b"".join(encode_layer_positions(np.array(COLUMN)))


@pytest.mark.parametrize("num_samples", [5, 9])
def test_the_column_comes_back(num_samples):
    assert parse_layer_positions(DATA, num_samples=num_samples, path="x").tolist() == COLUMN


def test_ranges_of_it_are_found_by_the_first_bytes():
    at = layer_column(DATA[:200], num_bytes=len(DATA), num_samples=5, path="x")
    assert np.frombuffer(DATA[at.begin + 8 : at.begin + 24], "<u8").tolist() == COLUMN[1:3]


@pytest.mark.parametrize(
    "columns",
    [
        {"position": np.zeros(6, "<u8")},
        {"position": np.zeros(0, "<u8")},
        {"position": np.zeros((2, 2), "<u8")},
        {},
    ],
)
def test_other_columns_are_refused(columns):
    data = b"".join(container.encode(columns, {"format": "shardpack-layer", "version": "1"}))
    with pytest.raises(CorruptIndexError, match="other positions than its base"):
        parse_layer_positions(data, num_samples=5, path="x")
    with pytest.raises(CorruptIndexError, match="other positions than its base"):
        layer_column(data, num_bytes=len(data), num_samples=5, path="x")


def test_entries_are_checked_before_use():
    column = np.array(COLUMN, np.uint64)
    check_layer_positions(column, layer_samples=3, path="x")
    check_layer_positions(column[:0], layer_samples=0, path="x")
    with pytest.raises(CorruptIndexError, match="points to position 2 of a layer of 2"):
        check_layer_positions(column, layer_samples=2, path="x")


def test_cut_short_anywhere():
    for length in range(len(DATA)):
        with pytest.raises(CorruptIndexError):
            parse_layer_positions(DATA[:length], num_samples=5, path="x")

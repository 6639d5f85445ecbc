"""Numbers of a column, for every stored sample; a column of anything else is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import shardpack
from shardpack.edit.table import table
from shardpack.errors import OptionError
from shardpack.table.numbers import column_numbers

LABELS = [{"a": 1, "b": 0.5, "c": True, "d": "x"}, {"a": 2}, {"a": -3, "b": 2.25, "c": False}]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    out = tmp_path_factory.mktemp("x") / "out"
    with shardpack.ShardWriter(out) as writer:
        for number, label in enumerate(LABELS):
            writer.write(f"{number}", {"json": json.dumps(label).encode()})
    table(out)
    return shardpack.open(out).stream_input().cache


@pytest.mark.parametrize("column", ["a", "b", "c"])
def test_numbers_are_those_of_the_labels(opened, column):
    found = column_numbers(opened.stores.sidecars, opened.manifest, column)
    assert found.dtype == np.float64
    expected = [float(label.get(column, math.nan)) for label in LABELS]
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("column", "text"),
    [("d", "column 'd' holds string, expected numbers"), ("class", "'class' holds string, "), ("e", "no column 'e'")],
)
def test_other_columns_are_refused(opened, column, text):
    with pytest.raises(OptionError, match=text):
        column_numbers(opened.stores.sidecars, opened.manifest, column)

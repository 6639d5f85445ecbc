"""Groups and numbers of a column are kept, each by itself."""

from __future__ import annotations

import numpy as np

from shardpack.read.kept_columns import KeptColumns


def test_one_column_of_each_kind_is_kept():
    columns = KeptColumns()
    groups, numbers = columns.groups.get("a", object), columns.numbers.get("a", lambda: np.zeros(2))
    assert columns.numbers.get("b", lambda: np.ones(2)) is not numbers
    assert columns.groups.get("a", object) is groups
    assert KeptColumns().groups.get("a", object) is not groups

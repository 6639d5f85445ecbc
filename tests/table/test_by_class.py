"""Groups hold each sample that has a value once, in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.table.by_class import Groups, group_rows
from shardpack.table.read_table import LabelTable
from tests.strategies import examples
from tests.table.test_read_table import part_of


def as_dict(groups: Groups):
    assert groups.starts[0] == 0
    assert groups.starts[-1] == len(groups.positions)
    return {name: groups.of(name).tolist() for name in groups.names}


@examples(60)
@given(st.data())
def test_groups_are_those_of_a_dict(tmp_path_factory, data):
    kinds = data.draw(st.sampled_from([st.sampled_from("abc"), st.integers(-3, 12), st.booleans(), st.floats(0, 2)]))
    values = data.draw(st.lists(st.none() | kinds, min_size=1, max_size=12))
    cut = data.draw(st.integers(0, len(values) - 1))
    pairs = list(enumerate({"v": value} for value in values))
    folder = tmp_path_factory.mktemp("groups")
    table = LabelTable([part_of(folder, n, some) for n, some in enumerate((pairs[:cut], pairs[cut:])) if some], [])
    expected = {}
    for value in sorted({value for value in values if value is not None}):
        name = str(value).lower() if isinstance(value, bool) else str(value)
        expected[name] = [number for number, one in enumerate(values) if one == value]
    found = as_dict(group_rows(table, "v"))
    assert found == expected
    assert list(found) == list(expected)


def test_classes_of_a_table_with_patches(tmp_path):
    base = [part_of(tmp_path, 0, [(n, {"class": "ba"[n % 2]}) for n in range(5)]), part_of(tmp_path, 1, [(5, {})])]
    table = LabelTable(base, [part_of(tmp_path, 2, [(2, {"class": "z"})])])
    groups = group_rows(table, "class")
    assert as_dict(groups) == {"a": [1, 3], "b": [0, 4], "z": [2]}
    assert groups.positions.dtype == np.uint32


def test_columns_that_have_no_groups(tmp_path):
    table = LabelTable([part_of(tmp_path, 0, [(0, {"a": [1], "b": {"c": 1}})])], [])
    for name in "ab":
        with pytest.raises(OptionError, match="holds lists or objects; group by one of texts"):
            group_rows(table, name)
    with pytest.raises(OptionError, match="no column 'c'"):
        group_rows(table, "c")

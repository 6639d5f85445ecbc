"""Numbers of rows as keys: different in the whole source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.naming import key_problem
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.row_source import Unit


def keys_of(*units):
    units = [Unit(str(number), *unit) for number, unit in enumerate(units)]
    keys = RowKeys.of(units)
    return [
        keys.key(number, keys.number(number, row))
        for number, unit in enumerate(units)
        for row in range(3 if unit.num_rows is None else unit.num_rows)
    ]


def test_rows_are_numbered_through():
    assert keys_of((2, 0), (1, 0)) == ["000000", "000001", "000002"]


def test_splits_come_first_if_there_are_several():
    assert keys_of((1, 0, "train"), (1, 0, "val"), (1, 0, "train")) == ["train/000000", "val/000000", "train/000001"]
    assert keys_of((1, 0, "train"), (1, 0, "train")) == ["000000", "000001"]


def test_rows_that_are_not_counted_are_numbered_within_their_unit():
    assert keys_of((1, 0), (None, 0)) == ["00000-00000000", "00001-00000000", "00001-00000001", "00001-00000002"]


def test_numbers_have_as_many_digits_as_the_last():
    keys = RowKeys.of([Unit("a", 10_000_001, 0)])
    assert (keys.number(0, 7), keys.number(0, 10_000_000)) == ("00000007", "10000000")


shapes = st.lists(
    st.tuples(st.none() | st.integers(0, 5), st.just(0), st.sampled_from([None, "train", "val"])), max_size=6
)


@given(shapes)
def test_all_keys_are_safe_and_different(shape):
    keys = keys_of(*shape)
    assert len(set(keys)) == len(keys)
    assert not any(map(key_problem, keys))


def test_keys_that_have_their_splits_do_not_grow():
    units = [Unit("a", 1, 0, "train"), Unit("b", 1, 0, "val")]
    keys = RowKeys.of(units, have_splits=True)
    assert (keys.key(0, "train/1"), keys.key(0, "1"), keys.key(1, "val/1")) == ("train/1", "1", "val/1")


def test_a_key_and_the_same_behind_its_split_stay_two():
    keys = RowKeys.of([Unit("a", 1, 0, "train"), Unit("b", 1, 0, "val")])
    assert (keys.key(0, "a"), keys.key(0, "train/a")) == ("train/a", "train/train/a")

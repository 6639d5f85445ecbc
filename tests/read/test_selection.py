"""Views: which samples they hold, and what a position or key of them means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import FieldNotFoundError, OptionError, PositionError, UnknownKeyError
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed

SAMPLES = numbered(40)
KEYS = list(SAMPLES)


@pytest.fixture(scope="module")
def files():
    return packed(SAMPLES, max_shard_samples=6)


@pytest.fixture(scope="module")
def ds(files):
    return open_dataset(CountingStore(files))


ranges = st.builds(range, st.integers(0, 39), st.integers(0, 40), st.sampled_from([1, 2, 7])) | st.builds(
    range, st.integers(0, 39), st.integers(-1, 39), st.sampled_from([-1, -3])
)


@given(ranges, ranges)
def test_a_range_is_the_list_that_it_stands_for(ds, first, second):
    view, same = ds.select(first), ds.select(list(first))
    assert as_dicts(view[:]) == as_dicts(same[:]) == expected(SAMPLES, first)
    assert list(view.keys()) == [KEYS[i] for i in first]
    inner = range(*slice(second.start, max(second.stop, 0), second.step).indices(len(view)))
    assert as_dicts(view.select(inner)[:]) == expected(SAMPLES, [first[i] for i in inner])
    assert [KEYS[i] in view for i in range(40)] == [i in first for i in range(40)]
    assert [KEYS[i] in same for i in range(40)] == [i in first for i in range(40)]


def test_all_of_it_is_the_whole_again(ds):
    for everything in (range(40), list(range(40)), np.arange(40), KEYS):
        view = ds.select(everything)
        options = {"shuffle": "blocks", "seed": 3, "block_bytes": 9000}
        assert as_dicts(list(view.stream(**options))) == as_dicts(list(ds.stream(**options)))
        assert repr(view) == repr(ds)


def test_ranges_take_no_memory(ds):
    positions = ds.select(range(2, 40, 2)).select(range(1, 10)).stream_input().positions
    assert (positions.begin.tolist(), positions.count.tolist(), positions.step) == ([4], [9], 2)


@pytest.mark.parametrize("wrong", [range(41), range(-41, 0), [0, 40], [-41], np.array([99])])
def test_positions_that_are_not_there(ds, wrong):
    with pytest.raises(PositionError, match=r"out of range: the dataset has 40 samples; ask for -40 to 39$"):
        ds.select(wrong)
    with pytest.raises(OptionError, match="counts from both ends"):
        ds.select(range(-2, 3))
    assert ds.select(range(-3, 0))[0].position == 37


def test_keys_of_a_view(ds):
    view = ds.select(["k/0005", 7, "k/0001"])
    assert [view.position_of(key) for key in ("k/0005", "k/0007", "k/0001")] == [5, 7, 1]
    with pytest.raises(UnknownKeyError, match="in this view"):
        view["k/0006"]
    assert "k/0006" not in view
    assert 2 in view
    assert 3 not in view


def test_where_samples_lie(files, ds):
    found = ds.locate([12, "k/0003", 12])
    assert [(at.key, at.position) for at in found] == [("k/0012", 12), ("k/0003", 3), ("k/0012", 12)]
    for at in found:
        for name, field in at.fields.items():
            payload = files[at.shard][field.offset : field.offset + field.size]
            assert payload == SAMPLES[at.key][name]
            assert field.url == f"memory://{at.shard}"
            assert field.crc32c is not None
    assert ds.locate(12) == ds.locate(np.int64(12)) == ds.locate("k/0012") == found[0]
    assert ds.select([12]).locate(0) == found[0]
    assert list(ds.select([12, 3]).entries()) == found[:2]
    with pytest.raises(PositionError):
        ds.locate(40)


def test_indexes_of_all_shards_are_fetched_together(files):
    store = CountingStore(files)
    store.remote = True
    waves = []
    usual = store.get_many
    store.get_many = lambda wanted: (waves.append(len(wanted)), usual(wanted))[1]
    ds = shardpack.open(store)
    assert list(ds.keys()) == KEYS
    assert waves == [1, 7]
    waves.clear()
    list(ds.entries()), ds.locate(range(40))
    assert waves == [], "all are open"


def test_fields_are_checked(ds):
    selection = ds.select([1])
    with pytest.raises(FieldNotFoundError, match="no field 'jpg'; the dataset has: bin, json"):
        selection.get_many([0], fields=["jpg"])
    with pytest.raises(OptionError, match="fields is a list"):
        selection.get_many([0], fields="json")

"""Views: `select` returns a dataset of fewer samples."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError, PositionError, UnknownKeyError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import manifest_path
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, packed, write
from tests.strategies import examples

SAMPLES = numbered(30)


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    return shardpack.open(write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=7))


@examples(40)
@given(collections(), st.integers(1, 4), st.data())
def test_a_view_is_the_chosen_samples_every_way(samples, per_shard, data):
    ds = shardpack.open(CountingStore(packed(samples, max_shard_samples=per_shard)))
    chosen = data.draw(st.lists(st.integers(0, len(ds) - 1), max_size=20))
    view = ds.select(chosen)
    want = expected(samples, chosen)
    assert len(view) == len(chosen)
    assert as_dicts([view[i] for i in range(len(view))]) == want
    assert as_dicts(view[:]) == want
    assert as_dicts(list(view)) == want
    assert list(view.keys()) == [key for key, _, _ in want]
    assert [(entry.key, entry.position) for entry in view.entries()] == [(key, i) for key, i, _ in want]
    shuffled = as_dicts(list(view.stream(shuffle="shards", seed=data.draw(st.integers(0, 9)))))
    assert sorted(shuffled, key=lambda sample: sample[1]) == sorted(want, key=lambda sample: sample[1])
    for key in samples:
        assert (key in view) == (list(samples).index(key) in chosen)
    again = data.draw(st.lists(st.integers(-len(view), len(view) - 1), max_size=8)) if chosen else []
    assert as_dicts(list(view.select(again))) == [want[i] for i in again]


def test_positions_of_a_view_are_its_own_but_samples_know_where_they_are(ds):
    view = ds.select([20, "k/0003", -1])
    assert [view[i].position for i in range(3)] == [20, 3, 29]
    assert view[-1].key == "k/0029"
    assert view["k/0003"].position == view.position_of("k/0003") == 3
    assert 2 in view
    assert 3 not in view
    with pytest.raises(PositionError, match="position 3 is out of range: the view has 3 samples"):
        view[3]
    with pytest.raises(PositionError):
        view.get_many([0, -4])


def test_keys_outside_the_view_are_unknown_to_it(ds):
    view = ds.select(range(5))
    assert "k/0007" not in view
    for ask in (lambda: view["k/0007"], lambda: view.select(["k/0007"]), lambda: view.get_many(["k/0007"])):
        with pytest.raises(UnknownKeyError, match=r"^no such key in this view: 'k/0007'"):
            ask()


def test_a_view_of_a_view_counts_in_the_first_one(ds):
    view = ds.select(range(10, 20)).select([9, 0, "k/0012"]).select(slice_positions := [2, 0])
    assert [sample.key for sample in view] == ["k/0012", "k/0019"]
    assert len(view) == len(slice_positions)


def test_repeats_are_fine(ds):
    view = ds.select([4, 4, "k/0004"])
    assert as_dicts(list(view)) == expected(SAMPLES, [4, 4, 4])
    assert view["k/0004"].position == 4


def test_an_empty_view(ds):
    view = ds.select([])
    assert (len(view), list(view), list(view.keys()), list(view.stream(shuffle="shards")), view[:]) == (
        0,
        [],
        [],
        [],
        [],
    )
    assert "k/0000" not in view
    with pytest.raises(PositionError):
        view[0]


def test_views_have_the_fields_and_shards_of_the_dataset(ds):
    view = ds.select([3])
    assert (view.fields, view.shards, view.fingerprint) == (ds.fields, ds.shards, ds.fingerprint)
    assert repr(view) == f"<Dataset {ds.location!r}: 1 of 30 samples, 5 shards>"
    assert view.get_many([0], fields=["json"]) == [{"json": SAMPLES["k/0003"]["json"]}]


def test_views_pickle(ds):
    view = ds.select([8, "k/0001"]).select([1, 0])
    copy = pickle.loads(pickle.dumps(view))
    assert as_dicts(list(copy)) == as_dicts(list(view)) == expected(SAMPLES, [1, 8])
    assert repr(copy) == repr(view)
    assert "k/0002" not in copy


def test_pickles_are_small_and_open_nothing_until_used(ds):
    ds[0]
    data = pickle.dumps(ds)
    assert len(data) < 500
    assert as_dicts([pickle.loads(data)[5]]) == expected(SAMPLES, [5])
    checked = pickle.loads(pickle.dumps(shardpack.open(ds.location, verify=True)))
    assert checked.stream_input().cache.verify


def with_next_generation(folder):
    """Publish generation 2 of a dataset, with its first shard only; all files of generation 1 stay."""
    ds = shardpack.open(folder)
    hashes = hash_keys(list(ds.keys())[: ds.shards[0].num_samples])
    _, files = encode_dataset([ds.shards[0]], hashes, generation=2, packed_with={})
    for name, parts in files:
        (folder / name).write_bytes(b"".join(parts))


def test_a_pickle_reopens_its_own_generation(tmp_path):
    samples = numbered(6)
    old = shardpack.open(write(tmp_path, samples, max_shard_samples=2))
    data = pickle.dumps((old, old.select([5, 3])))
    with_next_generation(tmp_path)
    assert len(shardpack.open(tmp_path)) == 2
    whole, view = pickle.loads(pickle.dumps(pickle.loads(data)))
    assert whole.manifest == old.manifest
    assert as_dicts(list(whole)) == expected(samples)
    assert as_dicts(list(view)) == expected(samples, [5, 3])
    assert whole["k/0004"].position == 4
    new = pickle.loads(pickle.dumps(shardpack.open(tmp_path)))
    assert (len(new), new.manifest.generation) == (2, 2)


@pytest.mark.parametrize("kept", [None, b"", b"{}"])
def test_a_generation_that_is_not_kept_is_refused(tmp_path, kept):
    data = pickle.dumps(shardpack.open(write(tmp_path, numbered(6), max_shard_samples=2)))
    with_next_generation(tmp_path)
    path = tmp_path / manifest_path(1)
    path.unlink() if kept is None else path.write_bytes(kept)
    with pytest.raises(OptionError, match="has changed, and its generation 1 as it was is not kept there; open it ag"):
        pickle.loads(data)


def test_another_dataset_in_its_place_is_refused(tmp_path):
    data = pickle.dumps(shardpack.open(write(tmp_path, numbered(3))))
    write(tmp_path, numbered(3, size=8), force=True)
    with pytest.raises(OptionError, match="has changed, and its generation 1 as it was is not kept there; open it ag"):
        pickle.loads(data)

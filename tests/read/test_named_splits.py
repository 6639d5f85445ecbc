"""The file of splits is read once, in one request, and damage is told."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import islice

import pytest

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import CorruptIndexError, OptionError, ShardNotFoundError
from shardpack.format.key_index import hash_key
from shardpack.format.manifest import AppendedSplits
from shardpack.read.named_splits import load_splits
from shardpack.storage.memory import MemoryStore
from tests.edits import edited_files
from tests.fakes import file_contents
from tests.read.datasets import CountingStore, numbered

SAMPLES = numbered(40)
KEYS = list(SAMPLES)
SPLIT = {key: ["train", "train", "val", None][i // 5 % 4] for i, key in enumerate(KEYS)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("splits") / "out"
    with shardpack.ShardWriter(folder, max_shard_samples=4) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields, split=SPLIT[key])
    return file_contents(folder)


@pytest.fixture
def path(files):
    (path,) = (name for name in files if "/splits-" in name)
    return path


def keys_of(name):
    return [key for key in KEYS if SPLIT[key] == name]


def test_a_split_is_a_view(files):
    ds = open_dataset(MemoryStore(files))
    assert ds.splits == {"train": 20, "val": 10}
    for name in ds.splits:
        view, same = ds.split(name), ds.select(keys_of(name))
        assert list(view.keys()) == keys_of(name)
        assert [sample.key for sample in view[:]] == keys_of(name)
        assert [view[item].key for item in range(len(view))] == keys_of(name)
        assert [key in view for key in KEYS] == [key in keys_of(name) for key in KEYS]
        assert [view[key].position for key in keys_of(name)] == [KEYS.index(key) for key in keys_of(name)]
        assert view.splits == {name: len(view)}
        for options in ({"shuffle": "none"}, {"shuffle": "blocks", "block_bytes": 900}, {"shuffle": "global"}):
            one, other = view.stream(seed=2, **options), same.stream(seed=2, **options)
            assert one.state_dict() == other.state_dict()
            assert [sample.key for sample in one] == [sample.key for sample in other]
        assert list(pickle.loads(pickle.dumps(view)).keys()) == keys_of(name)


def test_splits_of_views(files):
    ds = open_dataset(MemoryStore(files))
    assert ds.select(range(8, 13)).splits == {"train": 2, "val": 3}
    assert ds.select([39, 0, 1]).splits == {"train": 2}
    assert list(ds.select([39, 11, 0, 10]).split("val").keys()) == [KEYS[11], KEYS[10]]
    assert list(ds.split("train").split("val").keys()) == []
    assert list(ds.split("train").select(range(8, 12)).keys()) == keys_of("train")[8:12]
    assert list(ds.split("train").select(range(1, 20, 6)).keys()) == keys_of("train")[1:20:6]


def test_it_is_read_when_asked_for_in_one_request(files, path):
    store = CountingStore(files)
    ds = open_dataset(store)
    assert ds.splits == {"train": 20, "val": 10}
    assert path not in [name for name, _, _ in store.calls]
    store.calls.clear()
    view = ds.split("train")
    assert len(view) == 20
    assert ds.split("val").splits == {"val": 10}
    assert [name for name, _, _ in store.calls] == [path]


def test_a_name_that_is_not_there(files):
    ds = open_dataset(MemoryStore(files))
    with pytest.raises(OptionError, match="no split 'test'; the dataset has: train, val"):
        ds.split("test")


def test_a_dataset_without_splits(tmp_path):
    with shardpack.ShardWriter(tmp_path) as writer:
        writer.write("a", {"txt": "1"})
    ds = shardpack.open(tmp_path)
    assert (ds.splits, ds.select([0]).splits, ds.manifest.splits) == ({}, {}, None)
    assert load_splits(MemoryStore({}), ds.manifest) is None
    with pytest.raises(OptionError, match="has no splits"):
        ds.split("train")


def test_one_split_of_everything_is_the_dataset(tmp_path):
    with shardpack.ShardWriter(tmp_path) as writer:
        writer.write("a", {"txt": "1"}, split="all")
    ds = shardpack.open(tmp_path)
    assert repr(ds.split("all")) == repr(ds)


@pytest.mark.parametrize(("damage", "error"), [("bit", CorruptIndexError), ("short", CorruptIndexError)])
def test_damage(files, path, damage, error):
    data = files[path]
    store = MemoryStore({**files, path: data[:-1] + bytes([data[-1] ^ 1]) if damage == "bit" else data[:-1]})
    ds = open_dataset(store)
    assert len(ds) == 40
    with pytest.raises(error, match=path):
        ds.split("train")


def test_missing(files, path):
    ds = open_dataset(MemoryStore({name: data for name, data in files.items() if name != path}))
    assert ds.splits == {"train": 20, "val": 10}
    with pytest.raises(ShardNotFoundError, match=path):
        ds.split("train")


# --- Edited datasets -----------------------------------------------------------------------------

LATER = {f"later/{i:02d}": {"json": b"%d" % i} for i in range(60)}


def with_appended(files, *, delete=()):
    """Return a dataset whose splits are made anew, and then appended to: 60 samples that fall by their hash."""
    ds = open_dataset(MemoryStore(files))
    half = 1 << 31
    rule = AppendedSplits(len(KEYS), {"train": (0, half), "val": (half, half + half // 2)})
    ranges = ds._selection.cache.splits._ranges
    again = edited_files(files, splits=replace(ranges, appended=rule))
    again = edited_files(again, append=dict(islice(LATER.items(), 20)))
    return edited_files(again, append=dict(islice(LATER.items(), 20, 60)), delete=delete)


def fell(key):
    upper = hash_key(key.encode()) >> 32
    return "train" if upper < 1 << 31 else "val" if upper < 3 << 30 else None


def visible_keys(name, delete=()):
    of = SPLIT | {key: fell(key) for key in LATER}
    return [key for at, key in enumerate(of) if of[key] == name and at not in delete]


@pytest.mark.parametrize("delete", [(), (0, 3, 10, 39, 41, 42, 43, 99), range(35, 60)])
def test_appended_samples_fall_by_the_hash_of_their_key(files, delete):
    ds = open_dataset(MemoryStore(with_appended(files, delete=delete)))
    assert ds.splits == {name: len(visible_keys(name, delete)) for name in ("train", "val")}
    for name in ("train", "val"):
        view = ds.split(name)
        assert list(view.keys()) == visible_keys(name, delete)
        assert view.splits == {name: len(view)}
        assert list(ds.select(range(len(ds))[::-1]).split(name).keys()) == visible_keys(name, delete)[::-1]
        assert [sample.key for sample in pickle.loads(pickle.dumps(view))] == visible_keys(name, delete)
    assert len({*visible_keys("train"), *visible_keys("val")}) > 60


def test_hashes_of_appended_samples_are_read_once_and_when_asked_for(files):
    edited_files = with_appended(files)
    store = CountingStore(edited_files)
    ds = open_dataset(store)
    store.taken()
    assert sum(ds.splits.values()) == len(visible_keys("train")) + len(visible_keys("val"))
    assert store.taken() == []
    for name in ("train", "val"):
        ds.split(name)
    taken = store.taken()
    assert sum("/keys-" in path for path in taken) == 2, "the segments of what was appended, not the first one"
    assert sum("/splits-" in path for path in taken) == 1


def test_a_split_of_ranges_without_the_deleted(files):
    ds = open_dataset(MemoryStore(edited_files(files, delete=range(3, 12))))
    want = [key for at, key in enumerate(KEYS) if SPLIT[key] == "train" and not 3 <= at < 12]
    assert ds.splits["train"] == len(want)
    assert list(ds.split("train").keys()) == want
    assert ds.split("train").listing().keys == want
    left = KEYS[:3] + KEYS[12:]
    assert [sample.position for sample in ds.split("train")] == [left.index(key) for key in want]


def test_a_split_whose_samples_are_all_deleted_is_empty(files):
    gone = [at for at, key in enumerate(KEYS) if SPLIT[key] == "val"]
    ds = open_dataset(MemoryStore(edited_files(files, delete=gone)))
    assert ds.splits == {"train": 20, "val": 0}
    assert list(ds.split("val")) == []

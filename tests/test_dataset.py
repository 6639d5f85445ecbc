"""A dataset returns the same samples, whichever way it is read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.dataset import open_dataset
from shardpack.errors import (
    DatasetNotFoundError,
    FieldNotFoundError,
    OptionError,
    PositionError,
    UnknownKeyError,
)
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.local import LocalStore
from tests.conftest import ROOT
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, packed, write
from tests.strategies import examples

SAMPLES = numbered(25)
KEYS = list(SAMPLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=10)


@pytest.fixture
def ds(folder):
    return shardpack.open(folder)


@examples(60)
@given(collections(), st.integers(1, 5), st.booleans(), st.data())
def test_every_way_of_reading_gives_the_same(samples, per_shard, verify, data):
    """Random read = streamed read = get_many = what was packed, for any dataset."""
    store = CountingStore(packed(samples, max_shard_samples=per_shard), gap=data.draw(st.sampled_from([0, 600, 9999])))
    ds = shardpack.open(store, verify=verify)
    everything = expected(samples)
    assert len(ds) == len(samples)
    assert ds.fields == tuple(sorted({field for fields in samples.values() for field in fields}))
    assert as_dicts([ds[i] for i in range(len(ds))]) == everything
    assert as_dicts([ds[key] for key in samples]) == everything
    assert as_dicts(list(ds)) == everything
    assert as_dicts(list(ds.stream())) == everything
    assert as_dicts(ds.get_many(range(len(ds)))) == everything
    assert list(ds.keys()) == list(samples)
    assert [entry.key for entry in ds.entries()] == list(samples)
    chosen = data.draw(st.lists(st.integers(0, len(ds) - 1), max_size=20))
    mixed = [KEY if data.draw(st.booleans()) else i for i in chosen for KEY in [list(samples)[i]]]
    assert as_dicts(ds.get_many(mixed)) == expected(samples, chosen)
    fields = data.draw(st.lists(st.sampled_from(ds.fields), unique=True))
    fewer = {key: {f: p for f, p in have.items() if f in fields} for key, have in samples.items()}
    assert as_dicts(ds.get_many(chosen, fields=fields)) == expected(fewer, chosen)
    assert as_dicts(list(ds.stream(fields=fields))) == expected(fewer)


@examples(20)
@given(collections(), st.integers(1, 6))
def test_a_hot_shard_gives_the_same_bytes(samples, per_shard):
    store = CountingStore(packed(samples, max_shard_samples=per_shard))
    store.map = store._object  # as a local store would
    ds = open_dataset(store, verify=False, limits=CacheLimits(map_after_reads=2))
    for _ in range(3):
        assert as_dicts([ds[i] for i in range(len(ds))]) == expected(samples)
        assert as_dicts(ds.get_many(range(len(ds)))) == expected(samples)
    cache = ds.stream_input().cache
    assert all(cache.get(number).mapped is not None for number in range(len(cache)))
    store.taken()
    assert as_dicts(ds.get_many(list(samples)[::-1], fields=["bin"] if "bin" in ds.fields else [])) == [
        (key, position, {"bin": fields["bin"]} if "bin" in fields else {})
        for key, position, fields in expected(samples)[::-1]
    ]


def test_hot_local_shards_are_mapped_and_equal(folder):
    ds = open_dataset(LocalStore(folder), limits=CacheLimits(map_after_reads=5))
    before = as_dicts([ds[i] for i in range(4)])
    assert ds.stream_input().cache.at(0).mapped is None
    ds.get_many([0])
    assert ds.stream_input().cache.at(0).mapped is not None
    requests = ds.stats().requests
    assert as_dicts([ds[i] for i in range(4)]) == before
    assert as_dicts(ds[:10]) == expected(SAMPLES, range(10))
    assert ds.stats().requests == requests, "a mapped shard costs no request"
    checked = shardpack.open(folder, verify=True)
    assert as_dicts([checked[i] for i in [0] * 20]) == expected(SAMPLES, [0] * 20)
    assert checked.stream_input().cache.at(0).mapped is None, "checked reads are never mapped"


def test_large_samples_are_never_mapped(tmp_path):
    folder = write(tmp_path, {"a": {"bin": bytes(40_000)}, "b": {"bin": b"b" * 40_000}})
    ds = open_dataset(LocalStore(folder), limits=CacheLimits(map_after_reads=2))
    assert [ds[1]["bin"] for _ in range(5)] == [b"b" * 40_000] * 5
    assert ds.stream_input().cache.at(0).mapped is None


@given(st.integers(-40, 40))
def test_positions_count_from_either_end(folder, position):
    ds = shardpack.open(folder)
    if -25 <= position < 25:
        assert as_dicts([ds[position]]) == expected(SAMPLES, [position % 25])
        assert position in ds
    else:
        with pytest.raises(PositionError, match=f"position {position} is out of range: the dataset has 25 samples"):
            ds[position]
        with pytest.raises(IndexError):
            ds.get_many([0, position])
        assert position not in ds


@given(st.slices(25))
def test_slices_are_those_of_a_list(folder, cut):
    ds = shardpack.open(folder)
    assert as_dicts(ds[cut]) == expected(SAMPLES, range(25)[cut])


@pytest.mark.parametrize(
    "many",
    [
        [5, 3, "k/0001"],
        (24, 0, -25, 24),
        ["k/0024", "k/0000"],
        range(20, 5, -3),
        np.array([1, 2, 1]),
        np.array([-1, 24], np.int8),
        np.array([3, 4], np.uint64),
        np.array([[0, 1], [2, 3]]),
        np.array(["k/0003", "k/0001"]),
        [np.int64(7), np.uint8(200 - 180), np.str_("k/0011")],
        [],
        np.array([], np.int64),
    ],
    ids=repr,
)
def test_lists_of_all_kinds(ds, many):
    flat = many.reshape(-1).tolist() if isinstance(many, np.ndarray) else many
    positions = [KEYS.index(item) if isinstance(item, str) else int(item) % 25 for item in flat]
    assert as_dicts(ds[many]) == expected(SAMPLES, positions)
    assert as_dicts(ds.get_many(iter(flat))) == expected(SAMPLES, positions)
    assert as_dicts(list(ds.select(many))) == expected(SAMPLES, positions)


@pytest.mark.parametrize("one", [3, np.int64(3), np.uint8(3), np.array(3), "k/0003", np.str_("k/0003"), -22], ids=repr)
def test_one_of_all_kinds(ds, one):
    assert as_dicts([ds[one]]) == expected(SAMPLES, [3])


@pytest.mark.parametrize(
    "wrong", [True, np.True_, 1.0, np.float64(1), None, b"k/0001", {3}, object(), [True], [1.0], np.array([True] * 25)]
)
def test_what_is_neither_position_nor_key(ds, wrong):
    with pytest.raises(OptionError, match=r"asked for by position \(int\) or key \(str\), got \w+"):
        ds[wrong]
    if not isinstance(wrong, (list, np.ndarray)):
        assert wrong not in ds


@pytest.mark.parametrize("wrong", ["k/0001", b"k/0001", 3, None, np.int64(3)])
def test_what_is_no_list(ds, wrong):
    for ask in (ds.get_many, ds.select):
        with pytest.raises(OptionError, match=r"expected a list of positions and keys, got .*; write \["):
            ask(wrong)


@pytest.mark.parametrize("huge", [2**63, -(2**63) - 1, 2**200])
def test_positions_beyond_64_bits(ds, huge):
    for ask in (lambda: ds[huge], lambda: ds[[0, huge]], lambda: ds.get_many([huge, "k/0001"])):
        with pytest.raises(PositionError, match=str(huge)):
            ask()
    assert huge not in ds


def test_unsigned_positions_do_not_wrap(ds):
    with pytest.raises(PositionError):
        ds[np.array([2**64 - 1], np.uint64)]


@pytest.mark.parametrize("key", ["k/0025", "", "k", "K/0001", "k/0001.bin", "é", "\udcff", chr(0xD800), "k/0001\0"])
def test_unknown_keys(ds, key):
    assert key not in ds
    with pytest.raises(UnknownKeyError, match=r'^no such key: .*; list them with "shardpack ls"$') as caught:
        ds[key]
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownKeyError):
        ds.get_many([0, key])


def test_nothing_is_read_before_everything_asked_is_known_to_be_there(ds):
    ds["k/0001"]
    before = ds.stats()
    for items in ([0, 99], ["k/0002", "nobody"]):
        with pytest.raises(LookupError):
            ds.get_many(items)
    assert ds.stats().bytes_used == before.bytes_used


def test_membership_and_positions_of_keys(ds):
    assert all(key in ds for key in KEYS)
    assert [ds.position_of(key) for key in KEYS] == list(range(25))
    assert 24 in ds
    assert np.int64(24) in ds
    assert 25 not in ds


def test_it_is_a_sequence_to_python(ds):
    assert len(ds) == 25
    assert [sample.position for sample in reversed(ds)] == list(range(24, -1, -1))
    assert [sample.key for sample in ds] == KEYS
    assert repr(ds) == f"<Dataset {ds.location!r}: 25 samples, 3 shards>"
    assert [info.num_samples for info in ds.shards] == [10, 10, 5]
    assert ds.fields == ("bin", "json")
    assert ds.classes is None


@pytest.mark.parametrize("fields", [["json"], ("json",), {"json"}, iter(["json"]), ["json", "json"]])
def test_fields_of_all_kinds(ds, fields):
    (sample,) = ds.get_many([3], fields=fields)
    assert sample == {"json": SAMPLES["k/0003"]["json"]}


def test_no_fields_at_all(ds):
    assert as_dicts(ds.get_many([3, "k/0001"], fields=[])) == [("k/0003", 3, {}), ("k/0001", 1, {})]


def test_fields_that_are_not_there(ds):
    for ask in (lambda fields: ds.get_many([0], fields=fields), lambda fields: ds.stream(fields=fields)):
        with pytest.raises(FieldNotFoundError, match=r"^no field 'png'; the dataset has: bin, json$"):
            ask(["json", "png"])
        with pytest.raises(OptionError, match=r"write fields=\['json'\]"):
            ask("json")


def test_samples_that_lack_fields_lack_them_every_way(tmp_path):
    samples = {"a": {"txt": b"1"}, "b": {"bin": b""}, "c": {"bin": b"3", "txt": b""}, "d": {"txt": b"4"}}
    ds = shardpack.open(write(tmp_path, samples, max_shard_samples=3))
    assert as_dicts(list(ds)) == expected(samples)
    assert as_dicts(ds[:]) == expected(samples)
    assert ds.get_many(["d", "a"], fields=["bin"]) == [{}, {}]
    assert [list(entry.fields) for entry in ds.entries()] == [["txt"], ["bin"], ["bin", "txt"], ["txt"]]
    with pytest.raises(FieldNotFoundError, match=r"^no field 'bin'; the sample has: txt \(key='a'\)$"):
        ds["a"]["bin"]


def test_an_empty_dataset(tmp_path):
    ds = shardpack.open(write(tmp_path, {}))
    assert (len(ds), ds.fields, list(ds), list(ds.keys()), ds[:], ds.get_many([])) == (0, (), [], [], [], [])
    assert "a" not in ds
    for item in (0, -1):
        with pytest.raises(PositionError, match="the dataset has 0 samples"):
            ds[item]
    with pytest.raises(UnknownKeyError):
        ds["a"]
    with pytest.raises(FieldNotFoundError, match="the dataset has: none"):
        ds.get_many([], fields=["jpg"])


def test_opening_says_what_is_missing(tmp_path):
    for path, text in [
        (tmp_path / "nowhere", "no such folder: .*nowhere'; check the path"),
        (tmp_path, 'no dataset in .*: it has no .shardpack/manifest.json; make one with "shardpack pack"'),
    ]:
        with pytest.raises(DatasetNotFoundError, match=text):
            shardpack.open(path)
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(
        DatasetNotFoundError, match=r'1 tar\(s\) without an index; make one with "shardpack index .*\*.tar"'
    ):
        shardpack.open(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r'not a folder: .*; .*index the tar with "shardpack index"'):
        shardpack.open(tmp_path / "a.tar")
    with pytest.raises(DatasetNotFoundError, match=r'a list of tars has no index; .*index="memory"'):
        shardpack.open([tmp_path / "a.tar"])
    (tmp_path / "a.tar").unlink()
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError, match="unfinished; run the same pack command again"):
        shardpack.open(tmp_path)


def test_importing_opens_nothing():
    probe = "import os; before = set(os.listdir('/proc/self/fd')); import shardpack, threading; "
    probe += "assert set(os.listdir('/proc/self/fd')) == before; assert threading.active_count() == 1"
    subprocess.run([sys.executable, "-W", "error", "-c", probe], cwd=ROOT, check=True)

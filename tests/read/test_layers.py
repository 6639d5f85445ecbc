"""A base with layers gives each sample with the layers' fields: every verb, against a dict."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shardpack
from shardpack.errors import (
    CorruptShardError,
    DatasetNotFoundError,
    FieldNotFoundError,
    ShardNotFoundError,
    StaleIndexError,
    UnsupportedVersionError,
)
from shardpack.format.layout import FOLDER, MANIFEST_PATH
from shardpack.order.options import SHUFFLES
from shardpack.storage.memory import MemoryStore
from tests.format.builders import judge_module
from tests.read.datasets import CountingStore, as_dicts, collections, expected, numbered, split_in_two, write
from tests.read.layered import RemoteStore, attach, joined, layered, layers_of, packed_layered

BASE = numbered(20)
LABELS = {key: {"json": b'{"changed":%d}' % at} for at, key in enumerate(BASE)}
SOME = {key: {"json": b"2", "txt": b"text of " + key.encode()} for key in list(BASE)[15:3:-2]}
ALL = joined(BASE, LABELS, SOME)
SHARDS = {"max_shard_samples": 6, "of_layers": {"max_shard_samples": 7}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return layered(tmp_path_factory.mktemp("layers") / "data", BASE, LABELS, SOME, **SHARDS)


@pytest.fixture(scope="module")
def files():
    return packed_layered(BASE, LABELS, SOME, **SHARDS)


@settings(max_examples=25)
@given(st.data())
def test_any_layers_and_every_verb(data):
    base = data.draw(collections())
    layers = data.draw(layers_of(list(base)))
    most = data.draw(st.integers(1, 5))
    files = packed_layered(base, *layers, max_shard_samples=most, of_layers={"max_shard_samples": 6 - most})
    model, keys = joined(base, *layers), list(base)
    ds = shardpack.open(data.draw(st.sampled_from([MemoryStore, CountingStore, RemoteStore]))(files))
    positions = data.draw(st.lists(st.integers(0, len(base) - 1), max_size=20))
    assert as_dicts(ds.get_many(positions)) == expected(model, positions)
    assert as_dicts([ds[i] for i in positions]) == expected(model, positions)
    assert as_dicts([ds[keys[i]] for i in positions]) == expected(model, positions)
    fields = data.draw(st.lists(st.sampled_from(ds.fields), unique=True))
    some = {key: {field: own[field] for field in own if field in fields} for key, own in model.items()}
    assert as_dicts(ds.get_many(positions, fields=fields)) == expected(some, positions)
    for shuffle in SHUFFLES:
        block_bytes = data.draw(st.sampled_from([512, 4096]))
        for wanted, expect in ((None, model), (fields, some)):
            stream = ds.stream(shuffle=shuffle, block_bytes=block_bytes, tail="exact", fields=wanted)
            assert sorted(as_dicts(list(stream)), key=lambda one: one[1]) == expected(expect)
    assert [sorted(one.fields) for one in ds.locate(range(len(base)))] == [list(own) for own in model.values()]
    assert [one.key for one in ds.entries()] == keys


def test_the_last_layer_wins_and_others_keep_what_no_layer_has(folder):
    ds = shardpack.open(folder)
    assert as_dicts([ds[i] for i in range(len(ds))]) == expected(ALL)
    assert as_dicts(ds.get_many(range(len(ds)))) == expected(ALL)
    assert ds["k/0003"].decode("json") == {"changed": 3}
    assert ds.fields == ("bin", "json", "txt")
    with pytest.raises(FieldNotFoundError, match="'nope'; the dataset has: bin, json, txt"):
        ds.get_many([0], fields=["nope"])


def map_all(ds):
    cache = ds.stream_input().cache
    for own in (cache, *(layer.cache for layer in cache.layers)):
        for number in range(len(own)):
            own.map(own.get(number))


@pytest.mark.parametrize("layers", [(), (LABELS,), (SOME,), (LABELS, SOME)], ids=["none", "all", "some", "both"])
def test_mapped_shards_are_cut(tmp_path, layers):
    ds = shardpack.open(layered(tmp_path / "data", BASE, *layers, **SHARDS))
    map_all(ds)
    ds[0]
    before = ds.stats().requests
    assert as_dicts([ds[i] for i in range(len(ds))]) == expected(joined(BASE, *layers))
    assert as_dicts(ds.get_many([7, 3, 4, 3])) == expected(joined(BASE, *layers), [7, 3, 4, 3])
    assert ds.stats().requests == before
    ds.close()
    assert as_dicts([ds[i] for i in range(len(ds))]) == expected(joined(BASE, *layers)), "opens all again"


def test_small_samples_that_are_read_often_are_mapped(folder):
    ds = shardpack.open(folder)
    for _ in range(70):
        ds[0]
    before = ds.stats().requests
    assert dict(ds[0]) == ALL["k/0000"]
    assert ds.stats().requests == before


def test_samples_are_decoded_as_views(tmp_path):
    arrays = {f"{i}": {"npy": array(i), "json": b"1"} for i in range(4)}
    labels = {f"{i}": {"json": b"2", "mask.npy": array(-i)} for i in range(3)}
    ds = shardpack.open(layered(tmp_path / "data", arrays, labels))
    for i in range(4):
        values = ds.decode(i)
        assert values["npy"].tolist() == [i] * 8
        assert not values["npy"].flags.writeable
        assert values["json"] == (2 if i < 3 else 1)
        assert i == 3 or values["mask.npy"].tolist() == [-i] * 8


def array(value):
    file = BytesIO()
    np.save(file, np.full(8, value))
    return file.getvalue()


# --- What it costs


def tars(store):
    """Return how often each tar was asked for since the last call, layers by their folder."""
    paths = [path.removeprefix(f"{FOLDER}/layers/") for path in store.taken() if path.endswith(".tar")]
    return {path: paths.count(path) for path in sorted(set(paths))}


@pytest.mark.parametrize("kind", [CountingStore, RemoteStore])
def test_one_sample_costs_a_range_of_each_tar_that_has_some(files, kind):
    store = kind(files, gap=4096)
    ds = shardpack.open(store)
    assert dict(ds[0]) == ALL["k/0000"]
    assert tars(store) == {"0/shard-000000.tar": 1, "shard-000000.tar": 1}
    assert dict(ds[15]) == ALL["k/0015"]
    assert tars(store) == {"1/shard-000000.tar": 1, "shard-000002.tar": 1}, "nothing of what a later layer has"


def test_payloads_of_many_samples_are_read_together_and_merged(files):
    store = RemoteStore(files, gap=4096)
    ds = shardpack.open(store)
    ds.get_many([0, 1, 2, 3, 12, 13])
    assert tars(store) == {
        "0/shard-000000.tar": 1,
        "0/shard-000001.tar": 1,
        "1/shard-000000.tar": 1,
        "shard-000000.tar": 1,
        "shard-000002.tar": 1,
    }


def test_a_field_that_only_a_layer_has_reads_nothing_of_the_base(files):
    store = RemoteStore(files)
    ds = shardpack.open(store)
    assert as_dicts(ds.get_many([3, 5, 6], fields=["txt"])) == [
        ("k/0003", 3, {}), ("k/0005", 5, {"txt": b"text of k/0005"}), ("k/0006", 6, {}),
    ]  # fmt: skip
    assert tars(store) == {"1/shard-000000.tar": 1}


def test_replaced_fields_are_not_read_from_the_base():
    big = numbered(4, size=50_000)
    labels = {key: {"bin": b"x"} for key in big}
    store = RemoteStore(packed_layered(big, labels), gap=1 << 20, most=1 << 20)
    ds = shardpack.open(store)
    ds.get_many(range(4))
    asked = sum(length for path, _, length in store.calls if path == "shard-000000.tar")
    assert asked < 4 * 1024


def test_fields_of_the_base_alone_open_no_layer(files):
    store = RemoteStore(files)
    ds = shardpack.open(store)
    ds.get_many([1], fields=["bin"])
    assert not [path for path in store.taken() if "layers" in path]


def test_layers_are_opened_when_they_are_needed(files):
    store = RemoteStore(files)
    ds = shardpack.open(store)
    assert store.taken() == [MANIFEST_PATH]
    assert ds.fields == ("bin", "json", "txt")
    assert len(list(ds.keys())) == 20
    assert not [path for path in store.taken() if "layers" in path]
    ds[0]
    manifests = [path for path in store.taken() if path.endswith(".json")]
    assert manifests == [f"{FOLDER}/layers/{number}/.shardpack/manifests/000001.json" for number in range(2)]


# --- Around it


def test_a_pickle_reopens_the_same_layers(folder):
    ds = pickle.loads(pickle.dumps(shardpack.open(folder)))
    assert as_dicts(ds.get_many(range(20))) == expected(ALL)
    view = pickle.loads(pickle.dumps(ds.select([3, 9])))
    assert as_dicts([view[0], view[1]]) == expected(ALL, [3, 9])


def test_packing_folds(folder, tmp_path):
    shardpack.pack(shardpack.open(folder), tmp_path / "plain")
    plain = shardpack.open(tmp_path / "plain")
    assert plain.manifest.layers == ()
    assert {sample.key: dict(sample) for sample in plain} == ALL


def test_fields_are_located_in_the_shard_that_has_them(folder):
    ds = shardpack.open(folder)
    located = ds.locate(5)
    assert located.shard == "shard-000000.tar"
    for field, at in located.fields.items():
        data = Path(at.url).read_bytes()[at.offset : at.offset + at.size]
        assert data == ALL["k/0005"][field], field
    assert [located.fields[field].url.count(".shardpack/layers") for field in ("bin", "json", "txt")] == [0, 1, 1]
    assert [one.position for one in ds.locate([9, 2, 9])] == [9, 2, 9]


def test_loaders_and_mixes_have_the_fields(folder, tmp_path):
    ds = shardpack.open(folder)
    batch = next(iter(ds.loader(20, fields=["json", "txt"], decode={"json": None, "txt": None})))
    assert batch["json"] == [own["json"] for own in ALL.values()]
    assert batch["txt"] == [own.get("txt") for own in ALL.values()]
    other = shardpack.open(write(tmp_path / "other", numbered(4)))
    mixed = list(shardpack.mix({ds: 1, other: 1}, stop=40))
    assert all(dict(sample) == (ALL if sample.source == 0 else numbered(4))[sample.key] for sample in mixed)
    assert {sample.source for sample in mixed} == {0, 1}


def test_workers_share_an_epoch(folder):
    stream = shardpack.open(folder).stream(shuffle="blocks", block_bytes=1024, batch_size=2)
    shares = [sample for worker in range(2) for step in stream.steps(worker, stride=2) for sample in step]
    assert sorted(as_dicts(shares), key=lambda one: one[1]) == expected(ALL)


def test_payloads_of_layers_are_verified(tmp_path):
    folder = layered(tmp_path / "data", BASE, LABELS, **SHARDS)
    tar = folder / FOLDER / "layers/0/shard-000000.tar"
    data = bytearray(tar.read_bytes())
    at = data.index(b'{"changed":1}')
    data[at + 3] ^= 1
    tar.write_bytes(data)
    ds = shardpack.open(folder, verify=True)
    for read in (lambda: ds[1], lambda: ds.get_many([0, 1]), lambda: list(ds.stream(shuffle="blocks"))):
        with pytest.raises(CorruptShardError, match="field 'json' is damaged"):
            read()
    assert dict(ds[2]) == joined(BASE, LABELS)["k/0002"]


def test_compressed_layers_and_bases(tmp_path):
    judge_module("zstandard")
    compress = {"shards": "zstd:1"}
    folder = layered(
        tmp_path / "data", BASE, LABELS, max_shard_samples=6, compress=compress, of_layers={"compress": compress}
    )
    ds = shardpack.open(folder)
    assert as_dicts(ds.get_many(range(20))) == expected(joined(BASE, LABELS))
    assert as_dicts(list(ds.stream())) == expected(joined(BASE, LABELS))


# --- Where layers are


def test_a_layer_may_be_anywhere_and_have_tars_elsewhere(tmp_path):
    own = split_in_two(write(tmp_path / "deep" / "layer", LABELS, max_shard_samples=7))
    folder = attach(write(tmp_path / "data", BASE), own)
    ds = shardpack.open(folder)
    assert as_dicts([ds[i] for i in range(20)]) == expected(joined(BASE, LABELS))
    assert as_dicts(pickle.loads(pickle.dumps(ds)).get_many(range(20))) == expected(joined(BASE, LABELS))


def test_samples_appended_after_a_layer_have_no_field_of_it(tmp_path):
    own = write(tmp_path / "layer", LABELS)
    folder = attach(write(tmp_path / "data", BASE), own, length=4)
    first = dict(list(LABELS.items())[:4])
    ds = shardpack.open(folder)
    map_all(ds)
    assert as_dicts([ds[i] for i in range(20)]) == expected(joined(BASE, first))
    assert as_dicts(list(ds.stream(shuffle="none"))) == expected(joined(BASE, first))


def test_a_layer_gives_only_the_fields_that_it_is_attached_for(tmp_path):
    both = {key: {"json": b"no", "txt": b"yes", "bin": b"no"} for key in BASE}
    folder = attach(write(tmp_path / "data", BASE), write(tmp_path / "layer", both), fields=("txt",))
    model = joined(BASE, {key: {"txt": b"yes"} for key in BASE})
    ds = shardpack.open(folder)
    assert ds.fields == ("bin", "json", "txt")
    for begin in (list, map_all):
        begin(ds)
        assert as_dicts([ds[i] for i in range(20)]) == expected(model)
        assert as_dicts(ds.get_many(range(20))) == expected(model)
        for shuffle in SHUFFLES:
            found = sorted(ds.stream(shuffle=shuffle, block_bytes=2048), key=lambda sample: sample.position)
            assert {sample.key for sample in found} == set(model)
            assert all(dict(sample) == model[sample.key] for sample in found)
        assert [set(one.fields) for one in ds.locate([3, 4])] == [{"bin", "json", "txt"}] * 2
        assert [one.fields["json"].url.count("layer/") for one in ds.locate([3, 4])] == [0, 0]
    assert ds.decode(3)["txt"] == "yes"
    assert ds.decode(3)["json"] == {"number": 3}


def test_a_field_that_the_layer_lacks_is_refused(tmp_path):
    folder = attach(write(tmp_path / "data", BASE), write(tmp_path / "layer", LABELS), fields=("json", "txt"))
    with pytest.raises(UnsupportedVersionError, match="does not have the field 'txt' that it is to give"):
        shardpack.open(folder)[0]


@pytest.fixture
def fresh(tmp_path):
    return layered(tmp_path / "data", BASE, LABELS)


def test_a_missing_layer_is_one_error(fresh):
    (fresh / FOLDER / "layers/0").rename(fresh / "gone")
    ds = shardpack.open(fresh)
    with pytest.raises(DatasetNotFoundError, match=r"layer '\.shardpack/layers/0' is missing.*shardpack detach"):
        ds[0]
    with pytest.raises(DatasetNotFoundError, match="is missing"):
        list(ds.stream())


def test_a_changed_layer_is_one_error(fresh):
    shardpack.pack(MemorySource(), fresh / FOLDER / "layers/0", force=True)
    with pytest.raises(StaleIndexError, match=r"layer '\.shardpack/layers/0' has changed: generation 1 as it was"):
        shardpack.open(fresh)[0]


class MemorySource:
    def __iter__(self):
        yield "k/0000", {"json": b"3"}


def test_missing_positions_are_one_error(fresh):
    for path in fresh.glob(f"{FOLDER}/layer-*.index"):
        path.unlink()
    with pytest.raises(ShardNotFoundError, match="file is missing"):
        shardpack.open(fresh)[0]


def test_a_damaged_manifest_of_a_layer_is_refused(fresh):
    path = fresh / FOLDER / "layers/0/.shardpack/manifests/000001.json"
    path.write_bytes(path.read_bytes().replace(b"20", b"21"))
    with pytest.raises(StaleIndexError, match="changed"):
        shardpack.open(fresh)[0]


def test_a_layer_with_layers_is_refused(tmp_path):
    own = layered(tmp_path / "layer", LABELS, SOME)
    folder = attach(write(tmp_path / "data", BASE), own)
    with pytest.raises(UnsupportedVersionError, match="has layers or deleted samples of its own"):
        shardpack.open(folder)[0]

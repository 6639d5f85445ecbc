"""`merge`: one dataset of several, whose tars stay where they are or are copied; the others stay as they were."""

from __future__ import annotations

import itertools
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shardpack
from shardpack.errors import (
    CorruptShardError,
    DatasetNotFoundError,
    DuplicateKeyError,
    OptionError,
    OutputExistsError,
    StaleIndexError,
)
from shardpack.read.shard_cache import ShardCache
from shardpack.storage.memory import MemoryStore
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents as contents

A = {f"a/{i}": {"jpg": bytes([i]) * (50 + i), "txt": b"a"} for i in range(5)}
B = {f"b/{i}": {"jpg": bytes([9 + i]) * (70 + i), "txt": b"b"} for i in range(3)}


@pytest.fixture
def inputs(tmp_path):
    for name, samples in (("a", A), ("b", B)):
        shardpack.pack(samples.items(), tmp_path / name, max_shard_samples=2)
    return [tmp_path / "a", tmp_path / "b"]


def samples_of(location, **options):
    found = shardpack.open(location, **options)
    return {sample.key: {name: bytes(sample[name]) for name in sample} for sample in found.stream()}


def bucket_with(folder):
    store = WatchedStore()
    for name, data in contents(folder).items():
        store.put(name, data)
    return store


@pytest.mark.parametrize("copy", [False, True])
def test_all_samples_are_in_one(inputs, tmp_path, copy):
    before = [contents(folder) for folder in inputs]
    report = shardpack.merge(inputs, tmp_path / "out", copy=copy)
    assert samples_of(tmp_path / "out") == A | B
    assert [contents(folder) for folder in inputs] == before
    found = shardpack.open(tmp_path / "out")
    assert [found[key].position for key in (*A, *B)] == list(range(8))
    assert (report.num_samples, report.num_shards, report.dry_run) == (8, 5, False)
    assert report.num_bytes == found.manifest.num_bytes
    assert shardpack.verify(tmp_path / "out", full=True).ok
    tars = {name for name in contents(tmp_path / "out") if name.endswith(".tar")}
    assert len(tars) == (5 if copy else 0)
    assert found.manifest.locations == ((".",) if copy else ("../a", "../b"))
    assert not any(name.startswith(".shardpack/tmp") for name in contents(tmp_path / "out"))


def test_it_moves_with_the_others(inputs, tmp_path):
    shardpack.merge(inputs, tmp_path / "out")
    (tmp_path / "elsewhere").mkdir()
    for name in ("a", "b", "out"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    assert samples_of(tmp_path / "elsewhere" / "out") == A | B


def test_deleted_samples_stay_deleted(inputs, tmp_path):
    shardpack.delete(inputs[0], ["a/1", "a/4"])
    shardpack.delete(inputs[1], ["b/0"])
    report = shardpack.merge(inputs, tmp_path / "out")
    kept = {key: fields for key, fields in (A | B).items() if key not in ("a/1", "a/4", "b/0")}
    assert samples_of(tmp_path / "out") == kept
    assert report.num_samples == 5
    assert shardpack.open(tmp_path / "out")["b/1"].position == 3


def test_what_is_merged_goes_on_living(inputs, tmp_path):
    shardpack.merge(inputs, tmp_path / "out")
    shardpack.append([("new", {"txt": "new"})], tmp_path / "out")
    shardpack.delete(tmp_path / "out", ["a/0"])
    found = shardpack.open(tmp_path / "out")
    assert list(found.keys()) == [*list(A)[1:], *B, "new"]
    assert found.manifest.locations == ("../a", "../b", ".")
    assert found["new"].decode("txt") == "new"
    shardpack.pack([("c", {"txt": "c"})], tmp_path / "c")
    shardpack.merge([tmp_path / "out", tmp_path / "c"], tmp_path / "more")
    assert list(shardpack.open(tmp_path / "more").keys()) == [*list(A)[1:], *B, "new", "c"]


def test_a_copy_holds_all_tars(inputs, tmp_path):
    shardpack.merge(inputs, tmp_path / "out")
    shardpack.copy(tmp_path / "out", tmp_path / "copy")
    for folder in (*inputs, tmp_path / "out"):
        shutil.rmtree(folder)
    assert samples_of(tmp_path / "copy") == A | B
    assert shardpack.open(tmp_path / "copy").manifest.locations == (".",)
    assert shardpack.verify(tmp_path / "copy", full=True).ok


def test_appended_shards_and_frames_are_copied(inputs, tmp_path):
    pytest.importorskip("zstandard")
    shardpack.append([("z", {"txt": "z"})], inputs[0], compress={"shards": "zstd:3"})
    shardpack.merge(inputs, tmp_path / "out", copy=True)
    assert list(samples_of(tmp_path / "out")) == [*A, "z", *B]
    names = [shard.name for shard in shardpack.open(tmp_path / "out").shards]
    assert len(set(names)) == 6
    assert [name.endswith(".zst") for name in names] == [False, False, False, True, False, False]


def test_what_does_not_fit_is_refused(inputs, tmp_path):
    out = tmp_path / "out"
    shardpack.pack([("b/0", {"txt": "other"})], tmp_path / "c")
    for datasets, error, words in [
        ([*inputs, tmp_path / "c"], DuplicateKeyError, "'b/0'"),
        (inputs[:1], OptionError, "two datasets or more"),
        (str(inputs[0]), OptionError, "two datasets or more"),
        ([inputs[0], tmp_path / "nowhere"], DatasetNotFoundError, "nowhere"),
    ]:
        with pytest.raises(error, match=words):
            shardpack.merge(datasets, out)
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.merge(inputs, inputs[0], force=True)
    assert not out.exists()


def test_what_was_opened_is_closed_though_it_does_not_fit(inputs, tmp_path, monkeypatch):
    closed, close = [], ShardCache.close

    def counted(cache):
        closed.append(cache)
        close(cache)

    monkeypatch.setattr(ShardCache, "close", counted)
    with pytest.raises(DuplicateKeyError):
        shardpack.merge([inputs[0], inputs[1], inputs[0]], tmp_path / "out")
    assert len(closed) == 3
    closed.clear()
    with pytest.raises(DatasetNotFoundError):
        shardpack.merge([inputs[0], tmp_path / "nowhere"], tmp_path / "out")
    assert len(closed) == 1


def test_a_dataset_is_replaced_only_by_force(inputs, tmp_path):
    shardpack.merge(inputs, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        shardpack.merge(inputs, tmp_path / "out")
    shardpack.merge(inputs[::-1], tmp_path / "out", force=True, copy=True)
    assert list(samples_of(tmp_path / "out")) == [*B, *A]
    assert samples_of(inputs[0]) == A


def test_a_dry_run_writes_nothing(inputs, tmp_path):
    report = shardpack.merge(inputs, tmp_path / "out", dry_run=True)
    assert (report.num_samples, report.dry_run) == (8, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("copy", [False, True])
def test_a_damaged_index_is_not_merged(inputs, tmp_path, copy):
    path = inputs[0] / ".shardpack" / "index" / "shard-000001.index"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises((StaleIndexError, CorruptShardError), match="shard-000001"):
        shardpack.merge(inputs, tmp_path / "out", copy=copy)
    assert not (tmp_path / "out" / ".shardpack" / "manifest.json").exists()


def test_buckets_are_named_by_their_urls(inputs):
    buckets = [bucket_with(folder) for folder in inputs]
    out = WatchedStore()
    shardpack.merge([bucket.url for bucket in buckets], out.url)
    assert samples_of(out.url) == A | B
    assert shardpack.open(out.url).manifest.locations == tuple(bucket.url for bucket in buckets)
    assert not [name for name in out.contents() if name.endswith(".tar")]


def test_a_store_without_a_url_is_copied(inputs):
    nameless = MemoryStore(contents(inputs[0]), location="<mine>")
    with pytest.raises(OptionError, match="--copy"):
        shardpack.merge([nameless, inputs[1]], WatchedStore().url)


def test_a_bucket_cannot_name_a_folder(inputs, tmp_path):
    store = WatchedStore()
    with pytest.raises(OptionError, match="cannot name the folder"):
        shardpack.merge(inputs, store.url)
    shardpack.merge(inputs, store.url, copy=True, work_dir=tmp_path / "work")
    assert samples_of(store.url) == A | B


@pytest.mark.parametrize("copy", [False, True])
def test_a_killed_merge_is_continued(inputs, tmp_path, copy):
    sources = [bucket_with(folder).url for folder in inputs]
    whole = WatchedStore()
    shardpack.merge(sources, whole.url, copy=copy, jobs=1, work_dir=tmp_path / "work")
    for step in itertools.count(1):
        store = WatchedStore()
        kill_at(store, step)
        try:
            shardpack.merge(sources, store.url, copy=copy, jobs=1, work_dir=tmp_path / "work")
        except KilledError:
            killed = True
        else:
            killed = False
        heal(store)
        try:
            shardpack.merge(sources, store.url, copy=copy, jobs=1, work_dir=tmp_path / "work")
        except OutputExistsError:
            assert samples_of(store.url) == A | B  # it was finished, and cleaned up
        else:
            assert store.contents() == whole.contents()
        if not killed:
            break
    assert step > 8


parts = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=5), min_size=2, max_size=4)


@given(parts, st.booleans(), st.data())
@settings(max_examples=20)
def test_merged_datasets_are_as_dicts(tmp_path_factory, keys, copy, data):
    root = tmp_path_factory.mktemp("merge")
    model, folders = {}, []
    for number, own in enumerate(keys):
        with shardpack.ShardWriter(root / f"{number}", max_shard_samples=2) as writer:
            for key in own:
                writer.write(f"k{key}", {"txt": f"{number}"})
        deleted = data.draw(st.lists(st.sampled_from(own), unique=True)) if own else []
        if deleted:
            shardpack.delete(root / f"{number}", [f"k{key}" for key in deleted])
        folders.append(root / f"{number}")
        kept = [f"k{key}" for key in own if key not in deleted]
        if model.keys() & set(kept):
            with pytest.raises(DuplicateKeyError):
                shardpack.merge([*folders, *folders] if len(folders) < 2 else folders, root / "out", copy=copy)
            return
        model |= dict.fromkeys(kept, f"{number}")
    shardpack.merge(folders, root / "out", copy=copy)
    found = shardpack.open(root / "out")
    assert {sample.key: sample.decode("txt") for sample in found.stream()} == model
    assert list(found.keys()) == list(model)
    assert [found[key].position for key in model] == list(range(len(model)))


def test_a_tar_whose_samples_were_saved_is_not_copied(tmp_path):
    for name in ("a", "b"):
        shardpack.pack([(f"{name}/{n}", {"txt": "x" * 700}) for n in range(8)], tmp_path / name, max_shard_samples=4)
    broken = tmp_path / "a" / "shard-000001.tar"
    broken.write_bytes(broken.read_bytes()[:3200])
    shardpack.repair(tmp_path / "a")
    said, steps = [], []
    shardpack.merge(
        [tmp_path / "a", tmp_path / "b"],
        tmp_path / "out",
        copy=True,
        announce=said.append,
        progress=lambda *step: steps.append(step),
    )
    assert said == [f"{tmp_path / 'a'}: {broken.name} is left out: it is not whole, and no sample of it visible"]
    assert steps[-1][1] == steps[-1][2]
    with shardpack.open(tmp_path / "out") as ds:
        assert len(ds) == len(shardpack.open(tmp_path / "a")) + 8
        assert {sample["txt"] for sample in ds} == {b"x" * 700}
    assert shardpack.verify(tmp_path / "out", full=True).problems == ()

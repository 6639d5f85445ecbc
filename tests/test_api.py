"""`open` and `pack` as a script uses them."""

from __future__ import annotations

import itertools
import os
import random
import shutil

import numpy as np
import pytest

import shardpack
from shardpack.errors import (
    DatasetNotFoundError,
    DuplicateKeyError,
    InvalidKeyError,
    OptionError,
    OutputExistsError,
    ShardNotFoundError,
    SourceError,
)
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from shardpack.storage.base_store import BaseStore
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.conftest import image_folder, make_jpeg
from tests.fakes import contents, file_contents, write_files

SAMPLES = {f"{i:03d}": {"jpg": make_jpeg(seed=i), "json": b'{"label":%d}' % i} for i in range(12)}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("source"), SAMPLES)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("classes") / "photos", ("dog", "cat"), per_class=7)


def tars(out):
    """Return the files except what records how they were packed."""
    return {name: data for name, data in contents(out).items() if not name.endswith(".json")}


# pack


def test_a_folder_comes_back(source, tmp_path):
    report = shardpack.pack(source, tmp_path / "out")
    ds = shardpack.open(tmp_path / "out")
    assert {sample.key: dict(sample) for sample in ds} == SAMPLES
    payload_bytes = sum(len(payload) for fields in SAMPLES.values() for payload in fields.values())
    assert (report.num_samples, report.num_shards, report.payload_bytes) == (12, 1, payload_bytes)
    assert report.num_bytes == report.largest_shard_bytes == os.path.getsize(tmp_path / "out" / "shard-000000.tar")
    assert report.samples_per_field == {"jpg": 12, "json": 12}
    assert (report.layout, report.resumed_shards, report.dry_run, report.rejected) == ("files", 0, False, ())
    assert report.seconds > 0


@pytest.mark.parametrize("name", [os.fspath, lambda path: path, lambda path: path.as_uri()])
def test_the_folder_of_a_dataset_is_packed_as_the_dataset(source, tmp_path, name):
    shardpack.pack(source, tmp_path / "out", shuffle_seed=1)
    (tmp_path / "out" / "notes.jpg").write_bytes(make_jpeg(seed=0))
    report = shardpack.pack(name(tmp_path / "out"), tmp_path / "again", max_shard_samples=5)
    assert (report.layout, report.num_samples, report.num_shards) == ("dataset", 12, 3)
    opened = shardpack.open(tmp_path / "out")
    shardpack.pack(opened, tmp_path / "same", max_shard_samples=5)
    assert contents(tmp_path / "again") == contents(tmp_path / "same")
    assert shardpack.pack(tmp_path / "out", tmp_path / "files", layout="files").layout == "files"


def test_the_url_of_a_dataset_is_packed_as_the_dataset(source, tmp_path):
    shardpack.pack(source, "memory://pack-from-url")
    report = shardpack.pack("memory://pack-from-url", tmp_path / "out", storage_options={"max_requests": 4})
    assert (report.layout, list(shardpack.open(tmp_path / "out").keys())) == ("dataset", list(SAMPLES))
    with pytest.raises(DatasetNotFoundError, match=r"no dataset is at 'memory://nothing-to-pack', .*--from NAME"):
        shardpack.pack("memory://nothing-to-pack", tmp_path / "other")
    with pytest.raises(OptionError, match="storage_options are for URLs"):
        shardpack.pack(tmp_path / "out", tmp_path / "other", storage_options={"region": "x"})
    with pytest.raises(OptionError, match="allow_locations is for the folder or URL of a dataset; leave it out"):
        shardpack.pack(source, tmp_path / "other", allow_locations=True)


def test_class_folders_get_labels(classes, tmp_path):
    report = shardpack.pack(classes, tmp_path / "out")
    ds = shardpack.open(tmp_path / "out")
    assert ds.classes == ("cat", "dog")
    assert ds["dog/0003"].decode("json")["label"] == 1
    assert (report.layout, report.by_class) == ("classes", True)
    assert not shardpack.pack(classes, tmp_path / "mixed", shuffle_seed=0).by_class


class ShuffledEntries:
    """Return the entries of os.scandir in another order."""

    def __init__(self, path, real=os.scandir):
        with real(path) as entries:
            self.entries = list(entries)
        random.Random(0).shuffle(self.entries)

    def __enter__(self):
        return iter(self.entries)

    def __exit__(self, *_):
        pass

    def __iter__(self):
        return self

    def __next__(self):
        if not self.entries:
            raise StopIteration
        return self.entries.pop()

    def close(self):
        pass


def test_jobs_place_and_listing_order_change_no_byte(source, classes, tmp_path, monkeypatch):
    for number, folder in enumerate((source, classes)):
        options = {"max_shard_bytes": 8192, "shuffle_seed": 1 if number else None}
        shardpack.pack(folder, tmp_path / f"{number}-one", jobs=1, **options)
        expected = contents(tmp_path / f"{number}-one")
        assert sum(name.endswith(".tar") for name in expected) > 2
        for jobs in (2, 3, None):
            shardpack.pack(folder, tmp_path / f"{number}-{jobs}", jobs=jobs, **options)
            assert contents(tmp_path / f"{number}-{jobs}") == expected
        with monkeypatch.context() as patch:
            patch.setattr(os, "scandir", ShuffledEntries)
            patch.setattr(os, "listdir", lambda path=".", real=os.listdir: sorted(real(path), reverse=True))
            shardpack.pack(folder, tmp_path / f"{number}-shuffled", jobs=1, **options)
        assert contents(tmp_path / f"{number}-shuffled") == expected


def test_shuffle_is_the_order_of_the_specification(source, tmp_path):
    shardpack.pack(source, tmp_path / "a", shuffle_seed=7)
    order = permutation(len(SAMPLES), derive_key(PACK_ORDER, 7)).tolist()
    assert list(shardpack.open(tmp_path / "a").keys()) == [sorted(SAMPLES)[i] for i in order]
    shardpack.pack(source, tmp_path / "b", shuffle_seed=np.int64(7))
    assert tars(tmp_path / "b") == tars(tmp_path / "a")


@pytest.mark.parametrize(
    "options",
    [{}, {"max_shard_bytes": "8KiB"}, {"max_shard_samples": 5}, {"max_shard_bytes": 4096, "allow_oversized": True}],
)
def test_an_iterable_packs_like_the_folder(source, tmp_path, options):
    shardpack.pack(source, tmp_path / "folder", **options)
    report = shardpack.pack(((key, SAMPLES[key]) for key in sorted(SAMPLES)), tmp_path / "code", **options)
    assert tars(tmp_path / "code") == tars(tmp_path / "folder")
    ds = shardpack.open(tmp_path / "folder")
    assert (report.num_samples, report.num_shards) == (12, len(ds.shards))
    assert report.samples_per_field == {"jpg": 12, "json": 12}
    assert report.num_bytes == ds.manifest.num_bytes
    assert report.largest_shard_bytes == max(info.num_bytes for info in ds.shards)
    assert report.layout == "samples"


def test_an_iterable_that_fails_publishes_nothing(tmp_path):
    def samples():
        yield "a", {"bin": b"1"}
        raise LookupError("of the caller")

    with pytest.raises(LookupError, match="of the caller"):
        shardpack.pack(samples(), tmp_path)
    with pytest.raises(DuplicateKeyError):
        shardpack.pack([("a", {"bin": b"1"}), ("a", {"bin": b"2"})], tmp_path)
    with pytest.raises(DatasetNotFoundError, match="is unfinished"):
        shardpack.open(tmp_path)
    assert shardpack.pack([("a", {"bin": b"1"})], tmp_path).num_samples == 1


def test_nothing_to_pack(tmp_path):
    """An empty folder is a mistake; an empty iterable makes an empty dataset."""
    (tmp_path / "source").mkdir()
    with pytest.raises(SourceError, match="no images to pack"):
        shardpack.pack(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    report = shardpack.pack([], tmp_path / "out")
    assert (report.num_samples, report.num_shards, report.num_bytes, report.largest_shard_bytes) == (0, 0, 0, 0)
    assert len(shardpack.open(tmp_path / "out")) == 0


def test_keys_are_renamed_reversibly(tmp_path):
    source = write_files(tmp_path / "source", {"x": {"jpg": make_jpeg()}})
    (source / "x.jpg").rename(source / "a photo.jpg")
    with pytest.raises(SourceError, match=r"a photo.*--rename-keys"):
        shardpack.pack(source, tmp_path / "out")
    shardpack.pack(source, tmp_path / "out", rename_keys=True)
    (key,) = shardpack.open(tmp_path / "out").keys()
    assert shardpack.unescape_key(key) == "a photo"


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("check", ["signature", "decode"])
def test_bad_images(tmp_path, check, jobs):
    source = image_folder(tmp_path / "source", per_class=5)
    (source / "cat" / "0002.jpg").write_bytes(b"no image" if check == "signature" else make_jpeg()[:-300])
    with pytest.raises(SourceError, match=r"cat/0002\.jpg"):
        shardpack.pack(source, tmp_path / "out", check_images=check, jobs=jobs)
    assert not (tmp_path / "out").exists()
    report = shardpack.pack(source, tmp_path / "out", check_images=check, jobs=jobs, on_error="skip")
    assert report.num_samples == 9
    ((name, reason),) = report.rejected
    assert name == "cat/0002.jpg"
    lines = (tmp_path / "out" / ".shardpack/rejected.jsonl").read_text()
    assert lines.count("\n") == 1
    assert "cat/0002.jpg" in lines
    assert reason in lines.replace("\\", "")


def test_dry_run_writes_nothing_and_plans_the_truth(source, tmp_path):
    planned = shardpack.pack(source, tmp_path / "out", max_shard_bytes=8192, dry_run=True)
    assert planned.dry_run
    assert list(tmp_path.iterdir()) == []
    packed = shardpack.pack(source, tmp_path / "out", max_shard_bytes=8192)
    for name in ("num_samples", "num_shards", "num_bytes", "payload_bytes", "largest_shard_bytes", "samples_per_field"):
        assert getattr(planned, name) == getattr(packed, name)


def test_a_dataset_is_refused_before_the_source_is_listed(source, tmp_path):
    shardpack.pack(source, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        shardpack.pack(tmp_path / "nowhere", tmp_path / "out")
    assert shardpack.pack(source, tmp_path / "out", force=True).num_samples == 12


def test_progress_of_all_phases(source, tmp_path):
    calls = []
    shardpack.pack(
        source, tmp_path / "out", check_images="decode", max_shard_bytes=8192, progress=lambda *call: calls.append(call)
    )
    assert [phase for phase, _, _ in calls] == sorted(
        (phase for phase, _, _ in calls), key=["list", "check", "pack"].index
    )
    last = {phase: (done, total) for phase, done, total in calls}
    total = shardpack.open(tmp_path / "out").manifest.num_bytes
    assert last == {"list": (24, 0), "check": (12, 12), "pack": (total, total)}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_shard_bytes": "many"}, "not a size: 'many'; write it like"),
        ({"max_shard_bytes": 10}, "max_shard_bytes is 10"),
        ({"max_shard_samples": 0}, "max_shard_samples is 0, expected an integer of at least 1"),
        ({"jobs": 0}, "jobs is 0, expected an integer of at least 1"),
        ({"jobs": 1.5}, "jobs is 1.5, expected an integer of at least 1"),
        ({"shuffle_seed": "7"}, "shuffle_seed is '7', expected an integer"),
        ({"check_images": "thoroughly"}, "check_images is 'thoroughly'; choose 'signature' or 'decode'"),
        ({"on_error": "ignore"}, "on_error is 'ignore'"),
        ({"layout": "nice"}, "layout is 'nice'"),
        ({"layout": "files", "annotations": "x.json"}, "annotations are for the layout 'coco'"),
    ],
)
def test_wrong_options_of_a_folder(source, tmp_path, options, says):
    with pytest.raises(OptionError, match=says):
        shardpack.pack(source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"dry_run": True},
        {"shuffle_seed": 0},
        {"check_images": "decode"},
        {"layout": "files"},
        {"annotations": "x"},
    ],
    ids=str,
)
def test_wrong_options_of_an_iterable(tmp_path, options):
    with pytest.raises(OptionError, match="pack a folder"):
        shardpack.pack([("a", {"bin": b""})], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_errors_of_a_sample_name_it(tmp_path):
    with pytest.raises(InvalidKeyError, match="key='a b'"):
        shardpack.pack([("a b", {"bin": b""})], tmp_path)


# open


def test_open_takes_paths_and_stores(source, tmp_path, monkeypatch):
    shardpack.pack(source, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    for location in (tmp_path / "out", str(tmp_path / "out"), "out", "out/", LocalStore("out")):
        assert len(shardpack.open(location)) == 12


def test_open_of_plain_tars(source, tmp_path):
    shardpack.pack(source, tmp_path / "out", max_shard_samples=5)
    shutil.rmtree(tmp_path / "out" / ".shardpack")
    with pytest.raises(DatasetNotFoundError, match=r'holds 3 shard.* are missing.* sidecars=.* "shardpack index'):
        shardpack.open(tmp_path / "out")
    with pytest.raises(DatasetNotFoundError, match=r"open the folder that holds .*, or index the tar"):
        shardpack.open(tmp_path / "out" / "shard-000000.tar")
    listed = sorted((tmp_path / "out").glob("*.tar"))
    with pytest.raises(DatasetNotFoundError, match="a list of tars has no index"):
        shardpack.open(listed)
    for location in (tmp_path / "out", listed):
        ds = shardpack.open(location, index="memory")
        assert {sample.key: dict(sample) for sample in ds} == SAMPLES


@pytest.fixture(params=["memory", "folder"])
def new_store(request, tmp_path):
    """Return a function that creates empty stores."""
    numbers = itertools.count()
    return lambda: MemoryStore({}) if request.param == "memory" else LocalStore(tmp_path / f"out{next(numbers)}")


def test_a_store_is_packed_to_and_indexed(source, tmp_path, new_store):
    shardpack.pack(source, tmp_path / "usual", max_shard_samples=5)
    usual = file_contents(tmp_path / "usual")
    for what, jobs in ((source, 1), (source, 2), (shardpack.open(tmp_path / "usual"), 1)):
        store = new_store()
        report = shardpack.pack(what, store, max_shard_samples=5, jobs=jobs)
        assert (report.out, report.num_samples) == (store.location, 12)
        tars = {name: bytes(store.get(name)) for name in store.names() if name.endswith(".tar")}
        assert tars == {name: data for name, data in usual.items() if name.endswith(".tar")}
        with pytest.raises(OutputExistsError):
            shardpack.pack(what, store)
        assert {sample.key: dict(sample) for sample in shardpack.open(store)} == SAMPLES
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.pack(shardpack.open(store), store, force=True)
    for name in store.names():
        if not name.endswith(".tar"):
            store.delete(name)
    assert shardpack.index(store, out=store).num_samples == 12
    assert {sample.key: dict(sample) for sample in shardpack.open(store)} == SAMPLES
    assert shardpack.copy(store, new_store()).num_shards == 3


def test_samples_from_code_are_packed_to_a_store(new_store):
    store = new_store()
    assert shardpack.pack(SAMPLES.items(), store).out == store.location
    with shardpack.ShardWriter(store, force=True) as writer:
        writer.write("a", {"txt": "1"})
    assert list(shardpack.open(store).keys()) == ["a"]


def test_indexes_go_to_a_store_from_which_the_tars_are_found(source, tmp_path):
    shardpack.pack(source, tmp_path / "tars")
    shutil.rmtree(tmp_path / "tars" / ".shardpack")
    shardpack.index(tmp_path / "tars", out=LocalStore(tmp_path / "index"))
    assert {sample.key: dict(sample) for sample in shardpack.open(tmp_path / "index")} == SAMPLES
    with pytest.raises(OptionError, match="tars on this disk cannot be found from 'memory://'"):
        shardpack.index(tmp_path / "tars", out=MemoryStore({}))
    tars = MemoryStore({"a.tar": (tmp_path / "tars" / "shard-000000.tar").read_bytes()})
    with pytest.raises(OptionError, match="tars in 'memory://' cannot be found from elsewhere, as it has no URL"):
        shardpack.index(tars, out=MemoryStore({}))


def test_a_store_that_takes_no_objects_is_refused(source):
    class Reader(BaseStore):
        pass

    for write in (lambda out: shardpack.pack(source, out), shardpack.ShardWriter):
        with pytest.raises(OptionError, match="this store"):
            write(Reader("here"))
        with pytest.raises(OptionError, match="this store"):
            write(5)
    with pytest.raises(OptionError, match="storage_options are for URLs"):
        shardpack.pack(source, MemoryStore({}), storage_options={"region": "x"})


def test_open_of_plain_tars_ignores_what_index_ignores(source, tmp_path):
    shardpack.pack(source, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / ".shardpack")
    assert shardpack.open(tmp_path / "out", index="memory").fields == ("jpg", "json")
    assert shardpack.open(tmp_path / "out", index="memory", ignore=["*.json"]).fields == ("jpg",)
    with pytest.raises(OptionError, match=r"ignore is '\*\.json', expected a list"):
        shardpack.open(tmp_path / "out", index="memory", ignore="*.json")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ignore": ["*.json"]}, "ignore is for plain tars; pass index"),
        ({"index": "memory", "sidecars": "elsewhere"}, "is for plain tars, sidecars for datasets"),
        ({"index": "memory", "allow_locations": True}, "is for plain tars, allow_locations for datasets"),
        ({"index": "memory", "generation": 1}, "is for plain tars, generation for datasets"),
        ({"generation": 0}, "generation is 0, expected an integer from 1"),
        ({"generation": "1"}, "generation is '1', expected an integer from 1"),
        ({"generation": True}, "generation is True, expected an integer from 1"),
    ],
)
def test_open_ignores_no_option(source, tmp_path, options, says):
    shardpack.pack(source, tmp_path / "out")
    with pytest.raises(OptionError, match=says):
        shardpack.open(tmp_path / "out", **options)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "no such folder: .*; check the path"),
        ("file", "not a folder: .*; open the folder that holds .shardpack/manifest.json"),
        ("empty", 'no dataset in .*: it has no .shardpack/manifest.json; make one with "shardpack pack"'),
        ("unfinished", "is unfinished; run the same pack command again: it continues where it stopped"),
    ],
)
def test_open_says_what_is_missing(tmp_path, name, says):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished" / ".shardpack" / "tmp").mkdir(parents=True)
    with pytest.raises(DatasetNotFoundError, match=says):
        shardpack.open(tmp_path / name)


def test_open_of_what_is_not_there():
    with pytest.raises(DatasetNotFoundError, match=r"no dataset in 'memory://nothing'"):
        shardpack.open("memory://nothing")
    with pytest.raises(OptionError, match="storage_options are for URLs"):
        shardpack.open("/nowhere", storage_options={"region": "here"})
    with pytest.raises(ShardNotFoundError):
        shardpack.open("/nowhere", index="memory")


def test_a_table_is_made_with_the_dataset(classes, tmp_path):
    before = shardpack.pack(classes, tmp_path / "plain")
    report = shardpack.pack(classes, tmp_path / "out", with_table=True)
    assert report.num_samples == before.num_samples
    ds = shardpack.open(tmp_path / "out")
    assert (ds.manifest.generation, ds.fingerprint) == (2, shardpack.open(tmp_path / "plain").fingerprint)
    assert len(ds.where("class = 'cat'")) == 7
    shardpack.pack(classes, tmp_path / "dry", with_table=True, dry_run=True)
    assert not (tmp_path / "dry").exists()


def test_a_part_that_does_not_publish_makes_no_table(classes, tmp_path):
    for part, generation in (("1/2", 0), ("2/2", 2)):
        shardpack.pack(classes, tmp_path / "out", part=part, max_shard_samples=4, with_table=True)
        if generation:
            assert shardpack.open(tmp_path / "out").manifest.generation == generation

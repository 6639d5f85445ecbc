"""`copy`: between any stores, checked on the way, continued after a kill, and never over other files."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import threading
import time
from dataclasses import replace

import pytest

import shardpack
from shardpack.errors import (
    CorruptManifestError,
    CorruptShardError,
    DatasetNotFoundError,
    OptionError,
    OutputExistsError,
    ShardpackError,
    StorageError,
)
from shardpack.format.assemble import encode_dataset
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, index_path, manifest_path, table_name
from shardpack.format.manifest import AppendedSplits, TableFile
from shardpack.format.splits import Splits
from shardpack.storage import transfer
from shardpack.storage.open import open_store
from shardpack.storage.url import canonical
from tests import edits
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents as contents
from tests.fakes import published, write_files
from tests.read.damage import flip
from tests.read.datasets import split_in_two
from tests.sidecars import key_index, plain

SAMPLES = {f"a/{i:02d}": {"jpg": bytes([i]) * (100 + 300 * i), "json": b'{"label": %d}' % i} for i in range(6)}
OTHERS = {f"b/{i}": {"png": bytes(50 * i)} for i in range(1, 8)}
TARS = {f"shard-{i:06d}.tar" for i in range(3)}


@pytest.fixture
def dataset(tmp_path):
    source = write_files(tmp_path / "source", SAMPLES)
    (source / "a" / "bad key.jpg").write_bytes(b"x")
    shardpack.pack(source, tmp_path / "out", max_shard_samples=2, layout="files", on_error="skip", jobs=1)
    return tmp_path / "out"


@pytest.fixture
def whole(dataset):
    found = contents(dataset)
    assert ".shardpack/rejected.jsonl" in found
    return found


@pytest.fixture
def others(tmp_path):
    folder = write_files(tmp_path / "older", OTHERS)
    shardpack.pack(folder, tmp_path / "old", max_shard_samples=2, layout="files", jobs=1)
    return tmp_path / "old"


@pytest.fixture
def store():
    return WatchedStore()


@pytest.fixture
def foreign(tmp_path):
    """Tars that others named, in folders, with indexes."""
    folder = tmp_path / "foreign"
    for number, name in enumerate(("train/a.tar", "train/b%2F.tar", "val/a.tar")):
        with shardpack.ShardWriter(tmp_path / f"part{number}") as writer:
            writer.write(f"key-{number}", {"jpg": b"x" * 100})
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / f"part{number}" / "shard-000000.tar", folder / name)
    shardpack.index([folder / "train", folder / "val"])
    return folder


KEYS = "keys"  # in parameters: the name of the file holds its checksum


def named(folder, name):
    """The path of a file in a dataset."""
    return str(key_index(folder).relative_to(folder)) if name == KEYS else name


def files(folder):
    return {name: data for name, data in contents(folder).items() if data is not None}


# Everywhere


def test_from_folder_to_bucket_to_bucket_to_folder(dataset, whole, store, tmp_path):
    report = shardpack.copy(dataset, store.url)
    assert store.contents() == whole
    num_bytes = sum(len(data) for name, data in whole.items() if "/shard-" in f"/{name}")
    assert (report.source, report.target) == (str(dataset), store.url)
    assert (report.num_samples, report.num_shards, report.copied_shards) == (6, 3, 3)
    assert (report.copied_bytes, report.dry_run) == (num_bytes, False)
    second = WatchedStore()
    shardpack.copy(store.url, second.url, work_dir=tmp_path / "work")
    assert second.contents() == whole
    assert not os.listdir(tmp_path / "work")
    shardpack.copy(second.url, tmp_path / "back")
    assert contents(tmp_path / "back") == whole


def test_splits_come_along_and_are_repaired(dataset, tmp_path):
    with shardpack.ShardWriter(tmp_path / "splits", max_shard_samples=2) as writer:
        for number, sample in enumerate(shardpack.open(dataset)):
            writer.write(sample.key, dict(sample), split="train" if number < 3 else "val")
    for _ in range(2):
        shardpack.copy(tmp_path / "splits", tmp_path / "copy")
        assert contents(tmp_path / "splits") == contents(tmp_path / "copy")
        assert list(shardpack.open(tmp_path / "copy").split("val").keys()) == ["a/03", "a/04", "a/05"]
        (path,) = (tmp_path / "copy" / ".shardpack").glob("splits-*")
        path.write_bytes(b"")


def test_names_that_others_gave(foreign, store, tmp_path):
    shardpack.copy(foreign, store.url)
    assert store.contents() == files(foreign)
    shardpack.copy(store.url, tmp_path / "back")
    assert files(tmp_path / "back") == files(foreign)
    assert shardpack.verify(tmp_path / "back", full=True).ok


def test_tars_that_are_elsewhere_join_their_manifest(foreign, tmp_path):
    shutil.rmtree(foreign / ".shardpack")
    shardpack.index([foreign / "train", foreign / "val"], out=tmp_path / "indexes")
    shardpack.copy(tmp_path / "indexes", tmp_path / "joined")
    assert shardpack.verify(tmp_path / "joined", full=True).ok
    assert shardpack.open(tmp_path / "joined").manifest.locations == (".",)
    assert (tmp_path / "joined" / "train" / "a.tar").read_bytes() == (foreign / "train" / "a.tar").read_bytes()
    assert shardpack.copy(tmp_path / "indexes", tmp_path / "joined").copied_shards == 0


@pytest.mark.parametrize("remote", [False, True])
def test_tars_of_two_places_join_in_one(dataset, whole, store, tmp_path, remote):
    samples = [dict(sample) for sample in shardpack.open(dataset)]
    split_in_two(dataset)
    target = store.url if remote else tmp_path / "joined"
    assert shardpack.copy(dataset, target).copied_shards == 3
    found = store.contents() if remote else files(target)
    assert found == {name: data for name, data in whole.items() if data is not None}, "as it was packed"
    ds = shardpack.open(target)
    assert (ds.manifest.locations, [info.location for info in ds.shards]) == ((".",), [0, 0, 0])
    assert [dict(sample) for sample in ds] == samples
    assert shardpack.verify(target, full=True).ok
    assert shardpack.copy(dataset, target).copied_shards == 0
    table = next(name for name in found if plain(name) == "shards.index")
    open_store(target).delete(table)
    shardpack.copy(dataset, target)
    assert shardpack.verify(target).ok


def test_tars_of_one_name_cannot_join(dataset, store):
    split_in_two(dataset)
    shards = [replace(info, name="photos.tar") for info in shardpack.open(dataset).shards][:2]
    hashes = hash_keys(list(SAMPLES)[:4])
    _, sidecars = encode_dataset(shards, hashes, locations=(".", "../more"), packed_with={})
    for name, parts in sidecars:
        (dataset / name).write_bytes(b"".join(parts))
    with pytest.raises(OptionError, match=r"tars of two locations .*'photos\.tar', .*; rename one of them"):
        shardpack.copy(dataset, store.url)
    assert not store.log


def test_tars_without_checksums(foreign, tmp_path):
    shardpack.index([foreign / "train", foreign / "val"], force=True, checksums=False)
    shardpack.copy(foreign, tmp_path / "back")
    assert files(tmp_path / "back") == files(foreign)


def test_large_files_come_in_ranges(dataset, whole, monkeypatch, tmp_path, store):
    monkeypatch.setattr(transfer, "RANGE_BYTES", 500)
    shardpack.copy(dataset, store.url)
    shardpack.copy(store.url, tmp_path / "back")
    assert contents(tmp_path / "back") == whole


def test_progress_goes_to_the_end(dataset, store):
    store.before = lambda _, name: time.sleep(0.01) if name.endswith(".tar") else None
    steps = []
    report = shardpack.copy(dataset, store.url, jobs=1, progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1] == ("copy", report.copied_bytes, report.copied_bytes)
    assert len(steps) > 2


# Order, kills


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_manifest_comes_last(dataset, store, jobs):
    shardpack.copy(dataset, store.url, jobs=jobs)
    puts = store.puts()
    assert list(map(plain, puts))[-5:] == [
        ".shardpack/rejected.jsonl",
        "shards.index",
        "keys.index",
        ".shardpack/run.json",
        ".shardpack/manifest.json",
    ]
    for tar in TARS:
        index = index_path(tar)
        assert [name for name in puts if tar in name or index in name] == [
            f".shardpack/tmp/{tar}.done.json",
            index,
            tar,
        ]


def test_a_kill_is_healed_by_the_same_command(dataset, whole):
    seen = set()
    for step in itertools.count(1):
        store = WatchedStore()
        kill_at(store, step)
        try:
            shardpack.copy(dataset, store.url, jobs=2)
        except KilledError:
            heal(store)
        else:
            break
        before = store.contents()
        finished = {name for name in TARS if name in before and f".shardpack/tmp/{name}.done.json" in before}
        complete = MANIFEST_PATH in before
        if complete:
            assert published(before) == whole
        store.log.clear()
        assert shardpack.copy(dataset, store.url).copied_shards == (0 if complete else 3 - len(finished))
        assert set(store.puts(".tar")) == (set() if complete else TARS - finished)
        assert store.contents() == whole
        seen.add(len(finished))
    assert step > 15
    assert seen == {0, 1, 2, 3}


def test_a_killed_copy_to_a_folder_continues(dataset, whole, store, tmp_path):
    shardpack.copy(dataset, store.url)

    class StoppedError(Exception):
        pass

    def stop(_, done, total):
        if done > total / 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        shardpack.copy(store.url, tmp_path / "back", jobs=1, progress=stop)
    assert MANIFEST_PATH not in contents(tmp_path / "back")
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "back").glob("*.tar")}
    report = shardpack.copy(store.url, tmp_path / "back")
    assert report.copied_shards == 3 - len(stamps)
    assert contents(tmp_path / "back") == whole
    assert {name: (tmp_path / "back" / name).stat().st_mtime_ns for name in stamps} == stamps


def test_another_dataset_takes_over_what_was_cut_off(dataset, others, foreign):
    """Also names that only a copy gives."""
    for first, second in itertools.permutations((dataset, others, foreign), 2):
        store = WatchedStore()
        puts = itertools.count()

        def refuse(what, _, puts=puts):
            if what == "put" and next(puts) == 8:
                raise StorageError("cannot write: no; try again later")

        store.before = refuse
        with pytest.raises(StorageError):
            shardpack.copy(first, store.url, jobs=1)
        heal(store)
        shardpack.copy(second, store.url)
        assert store.contents() == files(second)


def test_packing_takes_over_a_copy_that_was_cut_off(foreign, store):
    def refuse(_, name):
        if plain(name) == "keys.index":
            raise StorageError("cannot write: no; try again later")

    store.before = refuse
    with pytest.raises(StorageError):
        shardpack.copy(foreign, store.url)
    assert "train/a.tar" in store.contents()
    heal(store)
    with shardpack.ShardWriter(store.url) as writer:
        writer.write("a", {"bin": b"1"})
    assert set(map(plain, store.contents())) == {
        "keys.index",
        "shards.index",
        ".shardpack/index/shard-000000.index",
        "shard-000000.tar",
        ".shardpack/manifest.json",
        ".shardpack/manifests/000001.json",
    }


# What is there


def test_a_copy_that_is_there_is_left_alone(dataset, store):
    shardpack.copy(dataset, store.url)
    store.log.clear()
    report = shardpack.copy(dataset, store.url)
    assert (report.copied_shards, report.copied_bytes) == (0, 0)
    assert not store.log


@pytest.mark.parametrize("name", ["shard-000001.tar", ".shardpack/index/shard-000001.index", KEYS])
@pytest.mark.parametrize("cut", [lambda data: data[:-1], None], ids=["short", "missing"])
def test_what_is_damaged_in_a_copy_is_repaired(dataset, whole, store, tmp_path, name, cut):  # noqa: PLR0917
    path = named(dataset, name)
    for target in (store.url, tmp_path / "back"):
        shardpack.copy(dataset, target)
        there = open_store(target)
        there.delete(path) if cut is None else there.put(path, cut(whole[path]))
        shards = 0 if name == KEYS else 1
        assert shardpack.copy(dataset, target, dry_run=True).copied_shards == shards
        assert shardpack.copy(dataset, target).copied_shards == shards
        assert shardpack.verify(target, full=True).ok
    assert store.contents() == whole
    assert contents(tmp_path / "back") == whole


def test_force_compares_every_byte_of_a_copy(dataset, whole, tmp_path):
    shardpack.copy(dataset, tmp_path / "back")
    flip(tmp_path / "back" / "shard-000002.tar", 600)
    assert shardpack.copy(dataset, tmp_path / "back").copied_shards == 0
    assert shardpack.copy(dataset, tmp_path / "back", force=True).copied_shards == 1
    assert contents(tmp_path / "back") == whole


def test_another_dataset_is_kept_without_force(dataset, whole, others, store, tmp_path):
    for target, found in ((store.url, store.contents), (tmp_path / "t", lambda: contents(tmp_path / "t"))):
        shardpack.copy(others, target)
        before = found()
        for dry_run in (False, True):
            with pytest.raises(OutputExistsError, match="already holds a dataset"):
                shardpack.copy(dataset, target, dry_run=dry_run)
        assert found() == before
        assert shardpack.copy(dataset, target, force=True, dry_run=True).copied_shards == 3
        assert found() == before
        assert shardpack.copy(dataset, target, force=True).copied_shards == 3
        assert found() == whole


@pytest.mark.parametrize("force", [False, True])
def test_files_of_another_origin_are_kept(dataset, foreign, store, force):
    store.put("shard-000001.tar", b"another file")
    with pytest.raises(OutputExistsError, match="no manifest that says whose they are"):
        shardpack.copy(dataset, store.url, force=force)
    store.delete("shard-000001.tar")
    store.put("val/a.tar", b"another file")
    for dry_run in (True, False):
        with pytest.raises(OutputExistsError, match=r"holds 'val/a\.tar', which no copy has written; move it away"):
            shardpack.copy(foreign, store.url, force=force, dry_run=dry_run)
    assert store.contents()["val/a.tar"] == b"another file"


def test_a_dry_run_writes_nothing(dataset, store, tmp_path):
    report = shardpack.copy(dataset, store.url, dry_run=True)
    assert (report.copied_shards, report.dry_run) == (3, True)
    assert not store.log
    shardpack.copy(dataset, tmp_path / "none", dry_run=True)
    assert not (tmp_path / "none").exists()


def test_one_place_is_not_copied_onto_itself(dataset, store, tmp_path, monkeypatch):
    shardpack.copy(dataset, store.url)
    (tmp_path / "link").symlink_to(dataset)
    monkeypatch.chdir(tmp_path)
    for source, target in ((dataset, tmp_path / "link"), (dataset, "out/"), (store.url, store.url + "/")):
        with pytest.raises(OptionError, match="source and target are the same: "):
            shardpack.copy(source, target, force=True)
    assert canonical("s3a://b/x/") == canonical("s3://b/x")


# What goes wrong


@pytest.mark.parametrize("name", ["shard-000001.tar", ".shardpack/index/shard-000001.index", KEYS])
@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_source_is_an_error(dataset, store, tmp_path, name, remote, cut):  # noqa: PLR0917
    source, name = dataset, named(dataset, name)
    if cut:
        (dataset / name).write_bytes((dataset / name).read_bytes()[:-1])
    else:
        flip(dataset / name, 60)
    if remote:
        source = store.url
        for file, data in contents(dataset).items():
            store.put(file, data)
    for target in (tmp_path / "back", WatchedStore().url):
        with pytest.raises(
            CorruptShardError, match=r"is damaged: expected \d+ bytes with CRC32C .*; restore it"
        ) as caught:
            shardpack.copy(source, target)
        assert caught.value.path == name
        assert MANIFEST_PATH not in open_store(target).names()
        assert name not in open_store(target).names()


@pytest.mark.parametrize("remote", [False, True])
def test_a_source_that_lacks_a_shard(dataset, store, tmp_path, remote):
    (dataset / "shard-000002.tar").unlink()
    if remote:
        for file, data in contents(dataset).items():
            store.put(file, data)
    for target in (tmp_path / "back", WatchedStore().url):
        with pytest.raises(ShardpackError, match=r"shard-000002\.tar"):
            shardpack.copy(store.url if remote else dataset, target)


def test_there_must_be_a_dataset(tmp_path, store):
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", "memory://nothing-here"):
        with pytest.raises(DatasetNotFoundError, match=r'no dataset in .* with "shardpack pack"'):
            shardpack.copy(source, store.url)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"jobs": "4"}, "jobs is '4', expected an integer of at least 1"),
        ({"jobs": 0}, "jobs is 0, expected an integer of at least 1"),
        ({"storage_options": {"region": "x"}}, "storage_options are for URLs"),
        ({"target_storage_options": {"region": "x"}}, "storage_options are for URLs"),
        ({"work_dir": "x"}, "work_dir is for buckets"),
    ],
)
def test_wrong_options(dataset, tmp_path, options, says):
    with pytest.raises(OptionError, match=says):
        shardpack.copy(dataset, tmp_path / "back", **options)


def test_a_web_server_takes_no_files(dataset):
    with pytest.raises(OptionError, match="a web server takes no files"):
        shardpack.copy(dataset, "https://example.org/x")


def test_an_error_ends_all_threads_at_their_next_range(dataset, store, tmp_path, monkeypatch, cancelled):
    shardpack.copy(dataset, store.url)
    monkeypatch.setattr(transfer, "RANGE_BYTES", 16)
    monkeypatch.setattr(transfer, "RANGES_AT_ONCE", 1)
    real, failed, late = WatchedStore.get_ranges, threading.Event(), []

    def slow(self, path, **ranges):
        if path == "shard-000000.tar":
            cancelled.clear()  # by other pools
            failed.set()
            raise StorageError("cannot read: no; try again later")
        if path.endswith(".tar"):
            assert failed.wait(60)
            assert cancelled.wait(60)
            late.append(path)
        return real(self, path, **ranges)

    monkeypatch.setattr(WatchedStore, "get_ranges", slow)
    with pytest.raises(StorageError, match="cannot read"):
        shardpack.copy(store.url, tmp_path / "back", jobs=3)
    assert len(late) == len(set(late)) <= 2, "what had been asked for"
    assert not list((tmp_path / "back" / ".shardpack").glob("*.tmp"))


# Servers


def test_from_a_server_to_a_bucket(dataset, whole, nginx_server, s3_server, proxy):
    pytest.importorskip("obstore")
    pytest.importorskip("urllib3")
    web = nginx_server(dataset)
    bucket, seen = s3_server.new_bucket(), proxy(s3_server.url)
    options = s3_server.options(seen.url)
    for copied in (3, 0):
        report = shardpack.copy(web.url, f"s3://{bucket}/x", target_storage_options=options)
        assert report.copied_shards == copied
    found = open_store(f"s3://{bucket}/x", s3_server.options())
    assert {name: bytes(found.get(name)) for name in found.names()} == whole
    assert sum(r.method == "PUT" and r.path.endswith(".tar") for r in seen.requests) == 3
    assert json.loads(whole[MANIFEST_PATH])["num_samples"] == 6


def test_tars_are_not_copied_over_themselves(tmp_path):
    folder = tmp_path / "tars"
    with shardpack.ShardWriter(folder) as writer:
        writer.write("a", {"txt": "b"})
    shardpack.index(folder, out=tmp_path / "indexes", force=True)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.copy(tmp_path / "indexes", folder, force=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_one_generation_of_an_edited_dataset_is_copied(dataset, tmp_path):
    splits = Splits.of_runs([("train", 4), ("val", 2)])
    fall = AppendedSplits(6, {"train": (0, 1 << 31), "val": (1 << 31, 1 << 32)})
    edits.edited(dataset, splits=replace(splits, appended=fall))
    edits.deleted(dataset, 1, 4)
    manifest = edits.appended(dataset, {"c/1": {"json": b"{}"}})
    rows = TableFile("table/000005-5f2f1c66.parquet", 4, crc32c(b"PAR1"), 7)
    rows = replace(rows, name=table_name(5, rows.crc32c))
    edits.write(dataset, {f".shardpack/{rows.name}": b"PAR1"})
    manifest = edits.edited(dataset, table=[rows])
    shardpack.copy(dataset, tmp_path / "copy")
    copied = contents(tmp_path / "copy")
    assert copied.keys() == {
        name
        for name in contents(dataset)
        if name in manifest.metadata_paths or name.endswith(".tar") or "/index/" in name
    }
    assert all(contents(dataset)[name] == data for name, data in copied.items())
    (tmp_path / "copy" / f".shardpack/{manifest.deleted[0].name}").write_bytes(b"damaged")
    shardpack.copy(dataset, tmp_path / "copy")
    assert contents(tmp_path / "copy") == copied


def texts(place, **options):
    with shardpack.open(place, **options) as ds:
        return {sample.key: bytes(sample["json"]) for sample in ds}


@pytest.fixture
def layered(dataset, tmp_path):
    """A dataset with a layer inside of it, one beside it, and deleted samples."""
    shardpack.relabel(dataset, {"a/00": {"n": 10}, "a/03": {"n": 13}})
    with shardpack.ShardWriter(tmp_path / "layer") as writer:
        writer.write("a/01", {"json": {"n": 11}})
    shardpack.attach(dataset, tmp_path / "layer")
    shardpack.delete(dataset, ["a/05"])
    return dataset


def test_layers_are_copied_into_the_copy(layered, tmp_path):
    report = shardpack.copy(layered, tmp_path / "copy")
    assert (report.num_samples, report.num_shards, report.num_layers) == (5, 5, 2)
    expected = texts(layered)
    assert expected["a/01"] == b'{"n":11}'
    shutil.rmtree(layered)
    shutil.rmtree(tmp_path / "layer")
    assert texts(tmp_path / "copy") == expected
    places = [ref.location for ref in shardpack.open(tmp_path / "copy").manifest.layers]
    assert all(place.startswith(".shardpack/layers/g") for place in places)
    with pytest.raises(OptionError, match="generation 1"):
        shardpack.open(tmp_path / "copy", generation=1)


def test_a_copy_of_layers_is_repaired_and_continued(layered, tmp_path):
    shardpack.copy(layered, tmp_path / "copy")
    whole = contents(tmp_path / "copy")
    for name in whole:
        if "/layers/" in name and name.endswith((".tar", ".index")):
            (tmp_path / "copy" / name).unlink()
    assert shardpack.copy(layered, tmp_path / "copy", dry_run=True).copied_shards == 2
    assert shardpack.copy(layered, tmp_path / "copy").copied_shards == 2
    assert contents(tmp_path / "copy") == whole
    report = shardpack.copy(layered, tmp_path / "other", dry_run=True)
    assert (report.copied_shards, (tmp_path / "other").exists()) == (5, False)


def test_a_killed_copy_of_layers_goes_on(layered):
    expected, step = texts(layered), 0
    while True:
        store, step = WatchedStore(), step + 5
        kill_at(store, step)
        try:
            shardpack.copy(layered, store, jobs=1)
        except (KilledError, ShardpackError):
            heal(store)
        else:
            break
        shardpack.copy(layered, store, jobs=1)
        assert texts(store) == expected
        assert not [name for name in store.names() if "/tmp/" in name]
    assert step > 20


def test_the_history_is_copied_when_asked_for(dataset, tmp_path):
    shardpack.relabel(dataset, {"a/00": {"n": 10}})
    shardpack.split(dataset, {"train": 0.5})
    shardpack.delete(dataset, ["a/05"])
    shardpack.detach(dataset)
    report = shardpack.copy(dataset, tmp_path / "copy", history=True)
    assert (report.num_generations, report.num_layers) == (5, 0)
    assert {name: data for name, data in contents(dataset).items() if "/tmp" not in name} == contents(tmp_path / "copy")
    assert texts(tmp_path / "copy", generation=2)["a/00"] == b'{"n":10}'
    assert shardpack.copy(dataset, tmp_path / "new").num_generations == 1
    assert len(contents(tmp_path / "new")) < len(contents(tmp_path / "copy"))


def test_a_history_with_a_damaged_manifest_is_refused(dataset, tmp_path):
    for key in ("a/05", "a/04"):
        shardpack.delete(dataset, [key])
    (dataset / manifest_path(2)).write_bytes(b"damaged")
    says = rf"manifest of generation 2 is damaged.*without history.*path='{manifest_path(2)}'"
    with pytest.raises(CorruptManifestError, match=says):
        shardpack.copy(dataset, tmp_path / "copy", history=True)
    assert not (tmp_path / "copy").exists()
    assert shardpack.copy(dataset, tmp_path / "copy").num_generations == 1


def test_a_history_with_something_elsewhere_is_refused(layered, tmp_path):
    with pytest.raises(OptionError, match=r"generation 4 has tars or a layer at '\.\./layer', so the history cannot"):
        shardpack.copy(layered, tmp_path / "copy", history=True)
    assert not (tmp_path / "copy").exists()


def test_layers_lead_nowhere_else(dataset, tmp_path):
    with shardpack.ShardWriter(dataset / ".shardpack" / "layers" / "x" / "y") as writer:
        writer.write("a/00", {"cls": b"1"})
    place = ".shardpack/layers/x/../x/y"
    edits.layered(dataset, dataset / ".shardpack" / "layers" / "x" / "y", [1, 0, 0, 0, 0, 0], location=place)
    shardpack.copy(dataset, tmp_path / "copy")
    (ref,) = shardpack.open(tmp_path / "copy").manifest.layers
    assert ref.location == f".shardpack/layers/g000001-{ref.crc32c:08x}"


@pytest.mark.parametrize("history", [False, True])
def test_a_tar_whose_samples_were_saved_is_left_out(dataset, tmp_path, history):
    tar = dataset / "shard-000001.tar"
    os.truncate(tar, tar.stat().st_size - 1500)
    with pytest.raises(
        CorruptShardError, match=rf"expected \d+ bytes with .*, got {tar.stat().st_size} bytes; restore it"
    ):
        shardpack.copy(dataset, tmp_path / "before")
    shardpack.repair(dataset)
    steps = []
    for expected in (4 - 1, 0):
        report = shardpack.copy(dataset, tmp_path / "copy", history=history, progress=lambda *step: steps.append(step))
        assert (report.copied_shards, report.left_out) == (expected, (tar.name,))
        assert steps[-1][1] == steps[-1][2]
    assert not (tmp_path / "copy" / tar.name).exists()
    assert texts(tmp_path / "copy") == texts(dataset)
    assert shardpack.verify(tmp_path / "copy", full=True).problems == ()
    next((tmp_path / "copy" / ".shardpack" / "index").glob("shard-000001*")).unlink()
    shardpack.copy(dataset, tmp_path / "copy", history=history)
    assert shardpack.verify(tmp_path / "copy").problems == ()
    tar.unlink()
    assert shardpack.copy(dataset, WatchedStore(), history=history).left_out == (tar.name,)


def test_a_needless_tar_elsewhere_is_left_out(dataset, tmp_path):
    os.truncate(dataset / "shard-000001.tar", 1000)
    shardpack.repair(dataset)
    shardpack.pack([("other", {"json": b"1"})], tmp_path / "more")
    shardpack.merge([dataset, tmp_path / "more"], tmp_path / "merged")
    report = shardpack.copy(tmp_path / "merged", tmp_path / "copy", allow_locations=True)
    assert report.left_out == ("shard-000001.tar",)
    assert texts(tmp_path / "copy") == texts(tmp_path / "merged")
    assert shardpack.verify(tmp_path / "copy", full=True).problems == ()

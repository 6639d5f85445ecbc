"""Deleted samples are not shown from then on; nothing else changes, and a kill at any moment harms nobody."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress

import pytest

import shardpack
from shardpack.errors import (
    CorruptManifestError,
    DatasetNotFoundError,
    OptionError,
    OutputExistsError,
    SampleNotFoundError,
    StorageError,
    UnknownKeyError,
    UnsupportedVersionError,
)
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, RUN_PATH, WORK_FOLDER, manifest_path
from shardpack.read.open_dataset import load_manifest
from shardpack.storage.open import open_store
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents
from tests.write.test_kill import zygote  # noqa: F401 - a fixture

KEYS = "abcdef"


def pack(where):
    with shardpack.ShardWriter(where, max_shard_samples=2) as writer:
        for key in KEYS:
            writer.write(key, {"bin": key.encode()})


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    where = tmp_path / "ds" if request.param == "folder" else WatchedStore().url
    pack(where)
    return where


@pytest.fixture
def folder(tmp_path):
    pack(tmp_path / "ds")
    return tmp_path / "ds"


@pytest.fixture
def store():
    store = WatchedStore()
    pack(store.url)
    store.log.clear()
    return store


def manifest_in(where):
    return load_manifest(open_store(where))[1]


def counts(where):
    manifest = manifest_in(where)
    return manifest.generation, manifest.num_visible, manifest.num_samples


def test_the_report_and_the_next_generation(place):
    report = shardpack.delete(place, ["e", "b"])
    assert (report.command, report.generation, report.parent) == ("delete", 2, 1)
    assert (report.deleted, report.added, report.changed, report.num_samples) == (2, 0, 0, 4)
    assert counts(place) == (2, 4, 6)
    assert manifest_in(place).packed_with["edit"]["command"] == "delete"
    assert shardpack.delete(place, iter("af")).num_samples == 2
    assert counts(place) == (3, 2, 6)
    assert [file.num_deleted for file in manifest_in(place).deleted] == [2, 2]
    assert list(shardpack.open(place, generation=1).keys()) == list(KEYS)


def test_only_new_files_are_written(folder):
    before = file_contents(folder)
    shardpack.delete(folder, "c")
    after = file_contents(folder)
    assert {name for name in before if before[name] != after[name]} == {MANIFEST_PATH}
    added = sorted(after.keys() - before.keys())
    assert [name.partition("-")[0] for name in added] == [".shardpack/deleted", manifest_path(2)]


def test_a_dry_run_writes_nothing(place):
    report = shardpack.delete(place, ["e", "b"], dry_run=True)
    assert report.dry_run
    assert (report.deleted, report.num_samples, report.generation) == (2, 4, 2)
    assert counts(place) == (1, 6, 6)


def test_the_order_of_keys_and_repeats_do_not_matter(place):
    assert shardpack.delete(place, ["c", "a", "c"]).deleted == 2


def test_all_samples_may_be_deleted(place):
    assert shardpack.delete(place, list(KEYS)).num_samples == 0
    assert counts(place) == (2, 0, 6)


def test_progress(place):
    seen = []
    shardpack.delete(place, ["c", "a"], progress=lambda *step: seen.append(step))
    assert seen[-1] == ("find", 2, 2)


def test_every_sample_with_a_key_is_deleted(tmp_path):
    """In a dataset that another tool wrote, several samples may have one key."""
    for name in ("x.tar", "y.tar"):
        with shardpack.ShardWriter(tmp_path / name, max_shard_samples=9) as writer:
            writer.write("same", {"bin": name.encode()})
        (tmp_path / "tars").mkdir(exist_ok=True)
        shutil.copy(tmp_path / name / "shard-000000.tar", tmp_path / "tars" / name)
    shardpack.index(tmp_path / "tars", on_duplicate="keep")
    assert shardpack.delete(tmp_path / "tars", ["same"]).deleted == 2


def test_where(tmp_path):
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    samples = [(f"{number}", {"json": {"size": number, "class": "ab"[number % 2]}}) for number in range(6)]
    shardpack.pack(samples, tmp_path)
    shardpack.table(tmp_path)
    assert shardpack.delete(tmp_path, where="size > 3", dry_run=True).deleted == 2
    report = shardpack.delete(tmp_path, where="size > 3")
    assert (report.generation, report.deleted, report.num_samples) == (3, 2, 4)
    with shardpack.open(tmp_path) as ds:
        assert list(ds.keys()) == list("0123")
        assert list(ds.where("size > 1").keys()) == ["2", "3"]
    assert manifest_in(tmp_path).packed_with["edit"]["where"] == "size > 3"
    with pytest.raises(SampleNotFoundError, match=r"no sample of .* matches where='size > 3'; nothing was deleted"):
        shardpack.delete(tmp_path, where="size > 3")
    assert shardpack.delete(tmp_path, where="true").num_samples == 0
    with pytest.raises(OptionError, match="the columns are"):
        shardpack.delete(tmp_path, where="nothing = 1")


def test_where_without_a_table(place):
    pytest.importorskip("duckdb")
    with pytest.raises(OptionError, match="shardpack table"):
        shardpack.delete(place, where="true")
    assert counts(place) == (1, 6, 6)


# Refusals: one line, nothing changed


def test_keys_that_are_not_there_are_refused(place):
    with pytest.raises(UnknownKeyError, match=r"no such key: 'v', 'w', 'x' and 2 more, in .*; nothing was deleted"):
        shardpack.delete(place, ["a", *"vwxyz"])
    shardpack.delete(place, ["a"])
    for dry_run in (False, True):
        with pytest.raises(UnknownKeyError, match="no such key: 'a', in"):
            shardpack.delete(place, ["a", "b"], dry_run=dry_run)
    assert counts(place) == (2, 5, 6)


def test_no_keys_are_refused(place):
    for keys, where in (([], None), (["a"], "true")):
        with pytest.raises(OptionError, match="name the samples to delete"):
            shardpack.delete(place, keys, where=where)
    with pytest.raises(UnknownKeyError, match=r"no such key: '\\ud800'"):
        shardpack.delete(place, ["\ud800"])


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        shardpack.delete(tmp_path / "none", ["a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match="shardpack pack"):
        shardpack.delete(tmp_path / "empty", ["a"])
    assert not os.listdir(tmp_path / "empty")


def test_a_damaged_manifest_and_one_of_a_newer_version(folder):
    text = (folder / MANIFEST_PATH).read_bytes()
    (folder / MANIFEST_PATH).write_bytes(text[:-1])
    with pytest.raises(CorruptManifestError):
        shardpack.delete(folder, ["a"])
    body = text.replace(b'"version": 1', b'"version": 9')[:-25]
    (folder / MANIFEST_PATH).write_bytes(body + f'  "crc32c": "{crc32c(body):08x}"\n}}\n'.encode())
    with pytest.raises(UnsupportedVersionError, match="upgrade shardpack"):
        shardpack.delete(folder, ["a"])


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(folder):
    (folder / ".shardpack").chmod(0o500)
    try:
        with pytest.raises(StorageError, match="cannot write to"):
            shardpack.delete(folder, ["a"])
    finally:
        (folder / ".shardpack").chmod(0o700)


def test_a_store_that_cannot_create(store):
    store.can_create = False
    with pytest.raises(OptionError, match="single_writer"):
        shardpack.delete(store.url, ["a"])
    assert not store.log
    assert shardpack.delete(store.url, ["a"], single_writer=True).generation == 2


def test_another_edit_that_came_first(store):
    """The other one commits after this one has looked."""

    def overtake(what, name):
        if what == "put" and "deleted-" in name:
            heal(store)
            shardpack.delete(store.url, ["b"])

    store.before = overtake
    with pytest.raises(OutputExistsError, match=r"another edit made generation 2 .*run the same delete command again"):
        shardpack.delete(store.url, ["a"])
    assert shardpack.delete(store.url, ["a"]).generation == 3
    assert counts(store.url) == (3, 4, 6)


def test_what_was_deleted_in_between_is_noticed(store):
    """The keys were there when the dataset was opened, before the right to edit was taken."""

    def overtake(what, name):
        if what == "put" and name.endswith("edit.json"):
            heal(store)
            shardpack.delete(store.url, ["a"])

    store.before = overtake
    with pytest.raises(OutputExistsError, match="meanwhile"):
        shardpack.delete(store.url, ["a", "b"])
    with pytest.raises(UnknownKeyError, match="no such key: 'a'"):
        shardpack.delete(store.url, ["a", "b"])


# Kills


def check(where, before):
    """The dataset is that of one generation or the other; what was there is still there. Return the generation."""
    generation, visible, _ = counts(where)
    assert (generation, visible) in {(1, 6), (2, 4)}
    after = file_contents(where) if isinstance(where, os.PathLike) else before
    assert {name for name in before if after.get(name) != before[name]} <= {MANIFEST_PATH}
    return generation


def finish(where):
    """The same command, run again: it makes the generation, or finds it made."""
    with suppress(UnknownKeyError):  # it was made, and there is nothing that would tell so
        report = shardpack.delete(where, ["b", "e"])
        assert (report.generation, report.parent, report.deleted, report.num_samples) == (2, 1, 2, 4)
    assert counts(where) == (2, 4, 6)


@pytest.mark.parametrize("compress", [None, {"shards": "zstd"}], ids=["plain", "zstd"])
def test_samples_of_a_lost_tar_can_be_deleted(tmp_path, compress):
    """Their keys are in its index."""
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2, compress=compress) as writer:
        for key in KEYS:
            writer.write(key, {"bin": key.encode()})
    lost = sorted(tmp_path.glob("shard-000000.tar*"))
    lost[0].unlink()
    assert shardpack.delete(tmp_path, ["a", "b"]).deleted == 2
    assert shardpack.repair(tmp_path).lost == ()
    with shardpack.open(tmp_path) as ds:
        assert [sample["bin"] for sample in ds] == [b"c", b"d", b"e", b"f"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "every",
    [pytest.param(5, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def test_killed_at_any_step_in_a_folder(folder, tmp_path, zygote, every):  # noqa: F811
    seen, before = set(), file_contents(folder)
    shutil.copytree(folder, tmp_path / "whole")
    shardpack.delete(tmp_path / "whole", ["b", "e"])
    whole = file_contents(tmp_path / "whole")
    what = {"action": "delete", "options": {"keys": ["b", "e"]}}
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        shutil.copytree(folder, out)
        ended = zygote.run(what, "", out, kill_at=step)
        if not ended["killed"]:
            assert "error" not in ended
            break
        noted = any((out / WORK_FOLDER).rglob("edit.json"))
        seen.add((check(out, before), noted))
        if noted or counts(out)[0] == 1:
            report = shardpack.delete(out, ["b", "e"])
            assert (report.generation, report.parent, report.deleted, report.num_samples) == (2, 1, 2, 4)
        assert {name: data for name, data in file_contents(out).items() if name != RUN_PATH} == whole
    assert seen >= ({(1, False), (1, True), (2, True)} if every == 1 else {(1, False), (1, True)})
    assert step > 20


@pytest.mark.parametrize("step", range(1, 7))  # the sixth change is the last
def test_killed_at_any_change_of_a_bucket(store, step):
    before = store.contents()
    kill_at(store, step)
    with suppress(KilledError):
        shardpack.delete(store.url, ["b", "e"])
    heal(store)
    assert check(store.url, store.contents() | before | {MANIFEST_PATH: b""}) in {1, 2}
    finish(store.url)
    assert not [name for name in store.contents() if name.startswith(WORK_FOLDER)]


@pytest.mark.parametrize("keys", [0, [1], [b"a"], ["a", 1], [["a"]]])
def test_keys_are_texts(folder, keys):
    files = file_contents(folder)
    with pytest.raises(OptionError, match=r"a key to delete is .*, expected a text"):
        shardpack.delete(folder, keys)
    assert file_contents(folder) == files

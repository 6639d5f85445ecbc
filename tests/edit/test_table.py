"""`shardpack.table`: the next generation has a table; nothing else is another one."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.table import make_table, table
from shardpack.errors import DecodeError, OptionError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER
from shardpack.runtime import processes
from shardpack.storage.memory import MemoryStore
from shardpack.table.read_table import LabelTable
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.conftest import image_folder
from tests.fakes import file_contents
from tests.table.datasets import labelled

LABELS = [{"class": "ab"[n % 2], "n": n} for n in range(5)]


@pytest.fixture
def folder(tmp_path):
    return labelled(tmp_path / "ds", LABELS)


def test_the_next_generation_has_a_table(folder, tmp_path):
    before = file_contents(tmp_path / "ds")
    seen = []
    report = table(folder, progress=lambda *what: seen.append(what))
    assert (report.command, report.generation, report.parent, report.added, report.num_samples) == ("table", 2, 1, 5, 5)
    assert seen == [("table", 5, 5)]
    after = file_contents(tmp_path / "ds")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    ds = shardpack.open(folder)
    (file,) = ds.manifest.table
    assert changed == {".shardpack/manifest.json", ".shardpack/manifests/000002.json", f".shardpack/{file.name}"}
    assert ds.fingerprint == shardpack.open(folder, generation=1).fingerprint
    assert shardpack.open(folder, generation=1).manifest.table == ()


def test_a_table_that_is_there_stays_unless_forced(folder):
    table(folder)
    first = shardpack.open(folder).manifest
    report = table(folder)
    assert (report.generation, report.parent, report.added) == (2, 2, 0)
    assert shardpack.open(folder).manifest == first
    assert table(folder, force=True).generation == 3
    assert shardpack.open(folder).manifest.table[0].crc32c == first.table[0].crc32c


def test_dry_run_writes_nothing(folder, tmp_path):
    before = file_contents(tmp_path / "ds")
    report = table(folder, dry_run=True)
    assert (report.dry_run, report.added, report.generation) == (True, 5, 2)
    assert file_contents(tmp_path / "ds") == before


def test_equal_datasets_have_equal_tables(tmp_path):
    tables = []
    for name in "ab":
        folder = labelled(tmp_path / name, LABELS)
        table(folder)
        (file,) = shardpack.open(folder).manifest.table
        tables.append((file.name, (tmp_path / name / ".shardpack" / file.name).read_bytes()))
    assert tables[0] == tables[1]


def test_labels_that_do_not_parse_change_nothing(tmp_path):
    folder = labelled(tmp_path / "ds", [{"a": 1}, b"{"])
    before = file_contents(tmp_path / "ds")
    with pytest.raises(DecodeError, match=r"field 'json' is not JSON.*key='001'"):
        table(folder)
    assert file_contents(tmp_path / "ds") == before


def test_datasets_in_other_stores():
    store = MemoryStore({})
    with shardpack.ShardWriter(store) as writer:
        writer.write("a", {"json": {"n": 1}})
    table(store)
    ds = shardpack.open(store)
    assert LabelTable.open(store, ds.manifest).columns[-1] == "n"


def test_a_write_that_fails_leaves_the_generation_before_and_the_files(folder, tmp_path, monkeypatch):
    link = os.link

    def fail(source, target):
        if "manifests" in str(target):
            raise KeyboardInterrupt
        link(source, target)

    monkeypatch.setattr(os, "link", fail)
    with pytest.raises(KeyboardInterrupt):
        table(folder)
    monkeypatch.undo()
    assert shardpack.open(folder).manifest.generation == 1
    for tar in (tmp_path / "ds").glob("*.tar"):
        tar.unlink()  # all rows were made: they are not made again
    assert table(folder).generation == 2
    assert not (tmp_path / "ds" / WORK_FOLDER).exists()


@pytest.mark.parametrize("jobs", [500, 99_999_999_999])
def test_no_more_jobs_are_started_than_there_are_tasks(folder, monkeypatch, jobs):
    monkeypatch.setattr(processes, "Child", None)
    assert table(folder, jobs=jobs).generation == 2


def test_jobs_are_a_number(folder):
    with pytest.raises(OptionError, match="jobs is 0, expected an integer"):
        table(folder, jobs=0)


def test_empty_datasets_have_no_rows(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds"):
        pass
    for dry_run in (False, True):
        with pytest.raises(OptionError, match="has no samples"):
            table(tmp_path / "ds", dry_run=dry_run)


# Kills


@pytest.fixture
def bucket():
    store = WatchedStore()
    with shardpack.ShardWriter(store.url) as writer:
        for number, label in enumerate(LABELS):
            writer.write(f"{number:03d}", {"json": label})
    store.log.clear()
    return store


@pytest.mark.parametrize("step", range(1, 8))  # the seventh change is the last
def test_killed_at_any_change_of_a_bucket(bucket, step):
    before = bucket.contents()
    kill_at(bucket, step)
    with suppress(KilledError):
        table(bucket.url)
    heal(bucket)
    ds = shardpack.open(bucket.url)
    assert (ds.manifest.generation, bool(ds.manifest.table)) in {(1, False), (2, True)}
    assert {name for name in before if bucket.contents().get(name) != before[name]} <= {MANIFEST_PATH}
    assert table(bucket.url).generation == 2
    assert len(shardpack.open(bucket.url).where("n > 2")) == 2
    assert not [name for name in bucket.contents() if name.startswith(WORK_FOLDER)]


@pytest.mark.parametrize("step", range(1, 14))
def test_a_bucket_keeps_full_files_for_the_next_run(bucket, step):
    """And none of them is made again."""
    kill_at(bucket, step)
    with suppress(KilledError):
        make_table(open_base(bucket.url), file_rows=2, jobs=1)
    heal(bucket)
    seen = []
    kept = [name for name in bucket.contents() if name.startswith(WORK_FOLDER) and name.endswith(".parquet")]
    was_done = bool(shardpack.open(bucket.url).manifest.table)
    make_table(open_base(bucket.url), file_rows=2, jobs=1, progress=lambda *what: seen.append(what))
    ds = shardpack.open(bucket.url)
    assert [file.num_samples for file in ds.manifest.table] == [2, 2, 1]
    assert ds.table(["n"])["n"].to_pylist() == list(range(5))
    assert seen == [] if was_done else [("table", 2 * len(kept), 5)] * bool(kept) + [("table", 5, 5)]
    assert not [name for name in bucket.contents() if name.startswith(WORK_FOLDER)]


@pytest.mark.parametrize("step", range(1, 14))
def test_a_relabel_with_a_table_killed_at_any_change(bucket, step):
    """Table and labels are of one generation, whenever it ends."""
    table(bucket.url)
    before = bucket.contents()
    kill_at(bucket, step)
    with suppress(KilledError):
        shardpack.relabel(bucket.url, {"001": {"n": 70}})
    heal(bucket)
    for again in (False, True):
        if again:
            shardpack.relabel(bucket.url, {"001": {"n": 70}})
        ds = shardpack.open(bucket.url)
        assert ds.table(["n"])["n"].to_pylist() == [sample.decode("json")["n"] for sample in ds]
    assert [sample.decode("json")["n"] for sample in ds] == [0, 70, 2, 3, 4]
    assert {name for name in before if bucket.contents().get(name) != before[name]} <= {MANIFEST_PATH}


def test_a_table_in_a_bucket(s3_server, classes):
    """Made while packing, asked by range; few requests, however many samples there are."""
    location, options = f"s3://{s3_server.new_bucket()}/ds", s3_server.options()
    shardpack.pack(classes, location, storage_options=options, with_table=True)
    ds = shardpack.open(location, storage_options=options)
    before = ds.stats().requests
    view = ds.where("class = 'cat' and height = 24")
    assert ds.stats().requests - before == 1
    assert [sample.key for sample in view] == [f"cat/{n:04d}" for n in range(20)]
    shardpack.relabel(location, {"dog/0003": {"class": "cat", "label": 0}}, storage_options=options)
    ds = shardpack.open(location, storage_options=options)
    assert len(ds.where("class = 'cat'")) == 21


@pytest.fixture
def classes(tmp_path):
    return image_folder(tmp_path / "photos", per_class=20)

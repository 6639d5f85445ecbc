"""Earlier generations go when asked, and nothing else; a kill at any moment harms no generation that is kept."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import time
from contextlib import suppress

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.lease import LEASE_NAME
from shardpack.edit.base import open_base
from shardpack.errors import DatasetNotFoundError, OptionError, OutputExistsError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER, index_path, manifest_path
from shardpack.storage.lock import FolderLock
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents
from tests.write.test_kill import zygote  # noqa: F401 - a fixture

ORPHANS = {
    ".shardpack/index/shard-g000002-0badcafe-000000.index": b"12",
    ".shardpack/keys-000002-0badcafe.index": b"123",
    ".shardpack/layers/g000002-0badcafe/.shardpack/manifest.json": b"1",
    "shard-g000002-0badcafe-000000.tar": b"1234",
}
WEEKS = 21 * 86400


def make(where):
    with shardpack.ShardWriter(where, max_shard_samples=2) as writer:
        for key in "abcdef":
            writer.write(key, {"bin": key.encode()})
    for key in "ab":
        shardpack.delete(where, [key])


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "ds")
    for name, data in ORPHANS.items():
        (tmp_path / "ds" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ds" / name).write_bytes(data)
    return tmp_path / "ds"


@pytest.fixture
def store():
    store = WatchedStore()
    make(store.url)
    for name, data in ORPHANS.items():
        store.put(name, data)
    return store


def age(folder, seconds=WEEKS):
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def check(where):
    with shardpack.open(where) as ds:
        assert list(ds.keys()) == list("cdef")
        assert [sample["bin"] for sample in ds] == [b"c", b"d", b"e", b"f"]


def test_nothing_is_deleted_that_is_younger_than_a_week(folder):
    before = file_contents(folder)
    report = shardpack.gc(folder)
    assert (report.kept, report.generations, report.files, report.num_young) == ((3, 2, 1), (), (), len(ORPHANS))
    assert file_contents(folder) == before


def test_what_is_old_goes(folder):
    before = file_contents(folder)
    age(folder)
    report = shardpack.gc(folder, keep=2)
    assert (report.kept, report.generations, report.num_young) == ((3, 2), (1,), 0)
    assert set(report.files) == {manifest_path(1), *ORPHANS}
    assert report.files[0] == manifest_path(1)
    assert report.num_bytes == len(before[manifest_path(1)]) + 10
    assert file_contents(folder) == {name: data for name, data in before.items() if name not in report.files}
    assert not (folder / ".shardpack" / "layers").exists()
    check(folder)
    assert [entry.generation for entry in shardpack.log(folder)] == [3, 2]
    with pytest.raises(OptionError, match="no generation 1"):
        shardpack.open(folder, generation=1)


def test_a_dry_run_deletes_nothing(folder):
    age(folder)
    before = file_contents(folder)
    report = shardpack.gc(folder, dry_run=True)
    assert report.dry_run
    assert report.generations == (1, 2)
    assert file_contents(folder) == before
    shardpack.gc(folder)
    assert before.keys() - file_contents(folder).keys() == set(report.files)


def test_memory_tells_no_times(store):
    before = store.contents()
    with pytest.raises(OptionError, match="does not tell when files were written"):
        shardpack.gc(store.url)
    assert store.contents() == before
    shardpack.gc(store.url, older_than=0)
    check(store.url)


def test_what_every_kind_of_edit_leaves_goes(tmp_path):
    pytest.importorskip("pyarrow")
    ds, captions = tmp_path / "ds", tmp_path / "captions"
    shardpack.pack(
        [(f"k{i}", {"json": {"label": i % 2}}) for i in range(6)], ds, max_shard_samples=3, classes=["a", "b"]
    )
    with shardpack.ShardWriter(captions) as writer:
        writer.write("k1", {"txt": "one"})
    shardpack.table(ds)
    shardpack.append([("n1", {"json": {"label": 1}})], ds)
    shardpack.attach(ds, captions)
    shardpack.split(ds, {"train": 0.5, "val": 0.5})
    for label in (0, 1):
        shardpack.relabel(ds, {key: {"label": label} for key in ("k0", "k1")})
    shardpack.delete(ds, ["k5"])

    def shown():
        with shardpack.open(ds) as opened:
            return {sample.key: dict(sample) for sample in opened}, opened.splits, opened.manifest

    before = shown()
    report = shardpack.gc(ds, older_than=0)
    assert report.generations == tuple(range(1, 8))
    kinds = {name.removeprefix(".shardpack/").partition("-")[0].partition("/")[0] for name in report.files}
    assert kinds == {"manifests", "layers", "layer", "table"}
    assert shown() == before
    assert shardpack.verify(ds, full=True).ok
    assert shardpack.gc(ds, older_than=0).files == ()


def stopped(where):
    """Leave what an append of samples from code leaves that is killed behind its first shard."""
    with open_base(where).begin("append", run_digest="of this run alone") as transaction:
        tar = f"shard-{transaction.tag}-000000.tar"
        for name in (f"{transaction.folder}/journal.jsonl", index_path(tar), tar):
            transaction.put(name, [b"1"])


def test_what_nothing_continues_goes_and_verify_is_content(tmp_path):
    make(tmp_path)
    before = file_contents(tmp_path)
    stopped(tmp_path)
    assert {problem.kind for problem in shardpack.verify(tmp_path).problems} == {"unfinished"}
    assert file_contents(tmp_path).keys() - before.keys()
    assert shardpack.gc(tmp_path).files == (), "it may be continued for a week"
    shardpack.gc(tmp_path, keep=9, older_than=0)
    assert file_contents(tmp_path) == before
    assert shardpack.verify(tmp_path, full=True).ok


def test_layers_that_go_are_named(tmp_path):
    shardpack.pack([("a", {"json": {"n": 1}})], tmp_path / "ds")
    for n in (2, 3):
        shardpack.relabel(tmp_path / "ds", {"a": {"n": n}})
    (layer,) = shardpack.gc(tmp_path / "ds", older_than=0, dry_run=True).layers
    assert (tmp_path / "ds" / layer).is_dir()
    assert shardpack.gc(tmp_path / "ds", older_than=0).layers == (layer,)
    assert not (tmp_path / "ds" / layer).exists()


def test_a_bucket_tells_times(s3_server):
    pytest.importorskip("obstore")
    location, options = f"s3://{s3_server.new_bucket()}/ds", {"storage_options": s3_server.options()}
    with shardpack.ShardWriter(location, **options) as writer:
        writer.write("a", {"bin": b"1"})
        writer.write("b", {"bin": b"2"})
    shardpack.delete(location, ["a"], **options)
    assert shardpack.gc(location, older_than="1h", **options).kept == (2, 1)
    report = shardpack.gc(location, older_than=0, **options)
    assert (report.kept, report.generations, report.files) == ((2,), (1,), (manifest_path(1),))
    assert report.num_bytes > 500
    with shardpack.open(location, **options) as ds:
        assert list(ds.keys()) == ["b"]


def test_a_missed_copy_is_healed(store):
    store.put(MANIFEST_PATH, store.contents()[manifest_path(1)])
    assert shardpack.gc(store.url, older_than=0).kept == (3,)
    check(store.url)


def test_shards_that_repair_left_out_stay(tmp_path):
    make(tmp_path / "ds")
    shardpack.append([("g", {"bin": b"g"})], tmp_path / "ds")
    shutil.rmtree(tmp_path / "ds" / ".shardpack" / "manifests")
    (tmp_path / "ds" / MANIFEST_PATH).unlink()
    (added,) = shardpack.repair(tmp_path / "ds", force=True).left_out
    assert added not in shardpack.gc(tmp_path / "ds", older_than=0).files
    (tmp_path / "ds" / MANIFEST_PATH).unlink()
    shutil.rmtree(tmp_path / "ds" / ".shardpack" / "manifests")
    shardpack.repair(tmp_path / "ds", force=True, include=["*-g000*"])
    with shardpack.open(tmp_path / "ds") as ds:
        assert list(ds.keys()) == list("abcdefg")


def test_progress(store):
    seen = []
    shardpack.gc(store.url, older_than=0, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("gc", 2 + len(ORPHANS), 2 + len(ORPHANS))


# Others


def test_it_waits_for_nobody(folder, store):
    with open_base(folder).begin("append", run_digest="x"), pytest.raises(OutputExistsError, match="another process"):
        shardpack.gc(folder)
    store.put(LEASE_NAME, b'{"command": "pack", "owner": "1"}')
    with pytest.raises(OutputExistsError, match="unfinished; run the same pack command again"):
        shardpack.gc(store.url, older_than=0)
    store.put(LEASE_NAME, b'{"command": "gc", "owner": "1"}')
    with pytest.raises(OutputExistsError, match="unfinished; run the same gc command again"):
        shardpack.delete(store.url, ["c"])
    shardpack.gc(store.url, older_than=0)
    shardpack.delete(store.url, ["c"])


def test_an_edit_that_began_before_does_not_commit_meanwhile(store):
    with open_base(store.url).begin("delete", run_digest="x") as transaction:
        done = []

        def commit(what, name):
            if what == "delete" and not done:
                done.append(name)
                with pytest.raises(OutputExistsError, match="run the same gc command again"):
                    transaction.check()

        store.before = commit
        shardpack.gc(store.url, older_than=0)
        assert done
        transaction.check()


def test_of_two_at_once_the_first_stops(store):
    def overtake(what, _):
        if what == "delete":
            heal(store)
            shardpack.gc(store.url, older_than=0)

    store.before = overtake
    with suppress(OutputExistsError):
        shardpack.gc(store.url, older_than=0)
    check(store.url)
    assert not [name for name in store.names() if name.startswith(WORK_FOLDER)]


def test_a_packer_refuses_as_before(folder):
    before = file_contents(folder)
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        shardpack.pack([("x", {"bin": b"1"})], folder)
    assert file_contents(folder) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": 0}, "keep"),
        ({"keep": 1.5}, "keep"),
        ({"older_than": "soon"}, "not a duration"),
        ({"older_than": -1}, "not a"),
    ],
)
def test_options(folder, options, says):
    with pytest.raises(OptionError, match=says):
        shardpack.gc(folder, **options)


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetNotFoundError):
        shardpack.gc(tmp_path)
    assert not os.listdir(tmp_path)


# Kills


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "every",
    [pytest.param(5, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def test_killed_at_any_step_in_a_folder(folder, tmp_path, zygote, every):  # noqa: F811
    shutil.copytree(folder, tmp_path / "whole")
    shardpack.gc(tmp_path / "whole", older_than=0)
    whole = file_contents(tmp_path / "whole")
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        shutil.copytree(folder, out)
        ended = zygote.run({"action": "gc", "options": {"older_than": 0}}, "", out, kill_at=step)
        check(out)
        if not ended["killed"]:
            assert "error" not in ended
            break
        shardpack.gc(out, older_than=0)
        assert file_contents(out) == whole
    assert step > 10


@pytest.mark.parametrize("step", range(1, 9))  # lease, two manifests, four files, lease
def test_killed_at_any_change_of_a_bucket(store, step):
    kill_at(store, step)
    with suppress(KilledError):
        shardpack.gc(store.url, older_than=0)
    heal(store)
    check(store.url)
    shardpack.gc(store.url, older_than=0)
    check(store.url)
    assert not [name for name in store.names() if name in ORPHANS or name.startswith(WORK_FOLDER)]
    assert len(shardpack.log(store.url)) == 1


def test_where_locks_do_not_work_an_edit_under_way_keeps_what_it_has_made(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    for of in (FolderLock, FolderTarget):
        monkeypatch.setitem(of.__init__.__kwdefaults__, "flock", refuse)
    make(tmp_path)
    reports = []

    def collect(*_):
        if not reports:
            reports.extend(shardpack.gc(tmp_path, keep=9, older_than=0, dry_run=dry) for dry in (True, False))

    more = [(f"n{i}", {"bin": b"1"}) for i in range(6)]
    shardpack.append(more, tmp_path, max_shard_samples=2, jobs=1, progress=collect)
    assert [report.files for report in reports] == [(), ()]
    assert len(shardpack.open(tmp_path)) == 10
    assert shardpack.verify(tmp_path, full=True).ok


def test_a_dry_run_does_not_count_what_an_edit_under_way_has_made(tmp_path):
    make(tmp_path)
    reports = []

    def collect(*_):
        reports.append(shardpack.gc(tmp_path, keep=9, older_than=0, dry_run=True))

    more = [(f"n{i}", {"bin": b"1"}) for i in range(6)]
    shardpack.append(more, tmp_path, max_shard_samples=2, jobs=1, progress=collect)
    assert reports
    assert all(report.files == () for report in reports)

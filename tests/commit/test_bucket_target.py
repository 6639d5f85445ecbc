"""Packing into a store that is not a folder: the same bytes, the same refusals, the same resuming."""

from __future__ import annotations

import itertools
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.overwrite import check_writable
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError, SourceError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import open_store
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents as contents
from tests.fakes import published, write_files
from tests.sidecars import plain

SAMPLES = {f"a/{i:02d}": {"jpg": bytes([i]) * (100 + 300 * i), "json": b'{"label": %d}' % i} for i in range(5)}
OTHERS = {f"b/{i}": {"png": bytes(50 * i)} for i in range(1, 8)}
OPTIONS = {"max_shard_samples": 2, "layout": "files"}


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", SAMPLES)


@pytest.fixture
def whole(source, tmp_path):
    """What must be there in the end, as a folder has it."""
    shardpack.pack(source, tmp_path / "whole", jobs=1, **OPTIONS)
    return contents(tmp_path / "whole")


@pytest.fixture
def store():
    return WatchedStore()


@pytest.fixture
def work_dir(tmp_path):
    """A work folder that must be empty in the end."""
    folder = tmp_path / "work"
    yield folder
    assert not folder.exists() or not os.listdir(folder)


def pack(source, out, **options):
    return shardpack.pack(source, getattr(out, "url", out), **{"jobs": 1, **OPTIONS, **options})


def write(source, out, **options):
    del source
    with shardpack.ShardWriter(getattr(out, "url", out), max_shard_samples=2, **options) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)


def keep_writing(writer, keys):
    for key in keys:
        writer.write(key, {"bin": b"1"})
        time.sleep(0.02)  # for the uploads


packers = pytest.mark.parametrize("packer", [pack, write])


@packers
def test_the_bytes_are_those_of_a_folder(source, store, work_dir, packer, tmp_path):
    packer(source, tmp_path / "folder")
    packer(source, store, work_dir=work_dir)
    assert store.contents() == contents(tmp_path / "folder")


def test_the_bytes_are_the_same_for_any_jobs(source, whole, store, work_dir):
    report = pack(source, store, jobs=3, work_dir=work_dir)
    assert store.contents() == whole
    assert (report.out, report.num_shards, report.resumed_shards) == (store.url, 3, 0)


def test_an_iterable_goes_there_too(store, work_dir):
    report = shardpack.pack(SAMPLES.items(), store.url, work_dir=work_dir)
    assert report.out == store.url
    assert list(shardpack.open(store.url).keys()) == list(SAMPLES)


def test_rejected_samples_are_listed_there(source, store, tmp_path):
    (source / "a" / "bad key.jpg").write_bytes(b"x")
    for out in (store, tmp_path / "folder"):
        pack(source, out, on_error="skip")
    assert store.contents() == contents(tmp_path / "folder")
    assert ".shardpack/rejected.jsonl" in store.contents()


def test_files_come_in_an_order_that_survives_a_kill(source, store):
    pack(source, store)
    for name in ("shard-000000", "shard-000001", "shard-000002"):
        puts = [put for put in store.puts() if name in put]
        assert puts == [f".shardpack/tmp/{name}.tar.done.json", f".shardpack/index/{name}.index", f"{name}.tar"]
    assert list(map(plain, store.puts()))[-4:] == [
        "shards.index",
        "keys.index",
        ".shardpack/run.json",
        ".shardpack/manifest.json",
    ]
    assert store.log[-1] == ("delete", ".shardpack/run.json")
    assert {name for what, name in store.log if what == "delete"} == set(store.puts()) - set(
        published(dict.fromkeys(store.puts()))
    )


def test_a_dry_run_writes_nothing(source, store):
    assert pack(source, store, dry_run=True).num_shards == 3
    assert not store.log


def test_progress_counts_what_has_arrived(source, store):
    seen = []
    pack(source, store, progress=lambda *step: seen.append((step, len(store.puts(".tar")))))
    steps = [(done, total, tars) for ((phase, done, total), tars) in seen if phase == "pack"]
    assert steps[-1][0] == steps[-1][1] == sum(len(data) for name, data in store.contents().items() if "tar" in name)
    assert all(tars >= number for number, (_, _, tars) in enumerate(steps, start=1))


# Refusals


@packers
def test_a_dataset_is_kept_without_force(source, store, packer):
    pack(source, store)
    before, length = store.contents(), len(store.log)
    with pytest.raises(
        OutputExistsError,
        match=r"already holds a dataset; .*, or pass force=True \(--force\), which deletes its 5 samples",
    ):
        packer(source, store)
    assert (store.contents(), len(store.log)) == (before, length)


@packers
def test_force_deletes_the_old_manifest_first(source, store, packer, tmp_path):
    pack(write_files(tmp_path / "older", OTHERS), store)
    store.put("notes.txt", b"not ours")
    store.log.clear()
    packer(source, store, force=True)
    packer(source, tmp_path / "new")
    assert store.contents() == {**contents(tmp_path / "new"), "notes.txt": b"not ours"}
    deletes = [name for what, name in store.log if what == "delete"]
    assert deletes[0] == MANIFEST_PATH
    assert store.log.index(("delete", MANIFEST_PATH)) < store.log.index(("put", "shard-000000.tar"))


@packers
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name", ["shard-000000.tar", ".shardpack/index/shard-000007.index", ".shardpack/keys-000001-0badcafe.index"]
)
def test_files_of_unknown_origin_are_kept(source, store, packer, force, name):
    store.put(name, b"somebody's")
    with pytest.raises(OutputExistsError, match=f"no manifest that says whose they are: '{name}'; move them away"):
        packer(source, store, force=force)
    assert store.contents() == {name: b"somebody's"}


def test_indexed_tars_are_kept(source, store):
    pack(source, store)
    whole = parse_manifest(store.contents()[MANIFEST_PATH])
    whole = replace(whole, packed_with={**whole.packed_with, "options": {"indexed": True}})
    store.put(MANIFEST_PATH, encode_manifest(whole))
    with pytest.raises(OutputExistsError, match='tars that "shardpack index" found there'):
        pack(source, store, force=True)


def test_a_refusal_can_be_had_early_and_writes_nothing(source, store):
    pack(source, store)
    store.log.clear()
    with pytest.raises(OutputExistsError):
        check_writable(BucketTarget(store), "pack", force=False)
    check_writable(BucketTarget(store), "pack", force=True)
    assert not store.log


# Killed, and continued


def finished(store):
    """Return the shards with their journal entry and their tar."""
    found = store.contents()
    return {name for name in found if f".shardpack/tmp/{name}.done.json" in found}


def kills(source, packer=pack, *, every=1, prepare=lambda _: None, **options):
    """Yield a store for each change at which the packer was killed, until it makes no more of them."""
    for step in itertools.count(1, every):
        store = WatchedStore()
        prepare(store)
        kill_at(store, step)
        try:
            packer(source, store, **options)
        except KilledError:
            heal(store)
            yield store
        else:
            assert step > 15  # the steps were seen
            return


@pytest.mark.parametrize("jobs", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_same_command_ends_the_same(source, whole, work_dir, jobs):
    seen = set()
    for store in kills(source, every=1 if jobs == 1 else 4, jobs=jobs, work_dir=work_dir):
        before, complete = finished(store), MANIFEST_PATH in store.contents()
        marked = ".shardpack/run.json" in store.contents()
        store.log.clear()
        if complete and not marked:  # nothing tells that it was the same command
            with pytest.raises(OutputExistsError):
                pack(source, store)
        else:
            report = pack(source, store, jobs=jobs, work_dir=work_dir)
            assert report.resumed_shards == (3 if complete else len(before))
        assert store.contents() == whole
        assert not before.intersection(store.puts())  # never uploaded again
        seen.add((len(before), complete))
    # With several jobs, the scheduler decides which counts between none and all the kills meet.
    assert {(count, False) for count in (range(4) if jobs == 1 else (0, 3))} <= seen
    assert any(complete for _, complete in seen)


def test_a_writer_starts_over(source, tmp_path):
    write(source, tmp_path / "whole")
    for store in kills(source, write, every=3):
        if MANIFEST_PATH not in store.contents():
            write(source, store)
        found = published(store.contents())
        assert found == contents(tmp_path / "whole")


def test_replacing_is_safe_too(source, whole, tmp_path):
    """There is the old dataset whole, the new one whole, or none."""
    older = write_files(tmp_path / "older", OTHERS)
    pack(older, tmp_path / "old")
    old, seen = contents(tmp_path / "old"), set()
    for store in kills(source, every=2, prepare=lambda store: pack(older, store), force=True):
        found = published(store.contents())
        if MANIFEST_PATH in found:
            assert found in (old, whole)
            seen.add("old" if found == old else "new")
        pack(source, store, force=True)
        assert store.contents() == whole
    assert seen == {"old", "new"}


def test_other_options_leave_no_shard_of_the_old(source, tmp_path):
    pack(source, tmp_path / "other", max_shard_samples=1)
    for store in kills(source, every=3):
        if MANIFEST_PATH not in store.contents():
            pack(source, store, max_shard_samples=1)
            assert store.contents() == contents(tmp_path / "other")


def test_a_tar_that_vanished_is_made_again(source, whole):
    *_, store = (store for store in kills(source) if MANIFEST_PATH not in store.contents())
    store.delete("shard-000001.tar")
    store.put(".shardpack/index/shard-000002.index", b"short")
    store.log.clear()
    assert pack(source, store).resumed_shards == 1
    assert sorted(store.puts(".tar")) == ["shard-000001.tar", "shard-000002.tar"]
    assert store.contents() == whole


def test_a_journal_that_is_nonsense_counts_for_nothing(source, whole):
    *_, store = (store for store in kills(source) if MANIFEST_PATH not in store.contents())
    store.put(".shardpack/tmp/shard-000000.tar.done.json", b"[]")
    store.put(".shardpack/tmp/shard-000001.tar.done.json", b"{")
    store.put(".shardpack/tmp/stray", b"")
    assert pack(source, store).resumed_shards == 1
    assert store.contents() == whole


# Two at once: no lock in a bucket


def test_the_packer_that_began_last_goes_on(store):
    first = shardpack.ShardWriter(store.url, max_shard_samples=1)
    first.write("a", {"bin": b"1"})
    second = shardpack.ShardWriter(store.url)
    second.write("b", {"bin": b"2"})
    with pytest.raises(OutputExistsError, match=r"another process is writing to .*; wait until it has ended"):
        keep_writing(first, "cdefghij")
    second.close()
    assert list(shardpack.open(store.url).keys()) == ["b"]
    assert shardpack.verify(store.url, full=True).ok


def test_a_packer_whose_dataset_another_finished_writes_nothing(store):
    first = shardpack.ShardWriter(store.url)
    first.write("a", {"bin": b"1"})
    with shardpack.ShardWriter(store.url) as second:
        second.write("b", {"bin": b"2"})
    before = store.contents()
    with pytest.raises(OutputExistsError, match="another process"):
        first.close()
    assert store.contents() == before


# The work folder


def tars_in(folder):
    # os.walk leaves out a folder that goes while it is listed; rglob of Python 3.10 raises.
    return [Path(root, name) for root, _, names in os.walk(folder) for name in names if ".tar" in name]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("slow", [False, True])
def test_the_work_folder_never_holds_more_than_jobs_and_one(tmp_path, store, work_dir, jobs, slow):
    source = write_files(tmp_path / "many", {f"{i:03d}": {"jpg": bytes(50_000)} for i in range(24)})
    counts, full = [], threading.Event()

    def before(_, name):
        until = time.monotonic() + 60
        while slow and name.endswith(".tar") and not full.is_set() and time.monotonic() < until:
            look()
            time.sleep(0.001)
        look()

    def look():
        counts.append(len({path.name.partition(".tar")[0] for path in tars_in(work_dir)}))
        if counts[-1] > jobs:
            full.set()

    store.before = before
    pack(source, store, jobs=jobs, work_dir=work_dir)
    assert len(store.puts(".tar")) == 12
    assert 1 <= max(counts) <= jobs + 1
    assert max(counts) == jobs + 1 or not slow, "packing goes on while shards are on their way"


def test_uploads_overlap(tmp_path, store):
    source = write_files(tmp_path / "many", {f"{i:03d}": {"jpg": b"1"} for i in range(8)})
    together = threading.Barrier(2, timeout=60)
    store.before = lambda _, name: together.wait() and None if name.endswith(".tar") else None
    pack(source, store, jobs=1)  # four shards, two at a time
    assert len(store.puts(".tar")) == 4


def test_a_work_folder_that_cannot_be_made_is_told(source, store, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="choose another folder"):
        pack(source, store, work_dir=tmp_path / "file")


# What goes wrong


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    "suffix", [".tar", ".index", ".tar.done.json", "/keys-", "/manifests/", ".shardpack/manifest.json"]
)
def test_a_store_that_refuses_is_one_clear_error(source, whole, work_dir, suffix, jobs):
    store = WatchedStore()

    def refuse(what, name):
        if what in ("put", "create") and (name.endswith(suffix) or (suffix.endswith(("-", "/")) and suffix in name)):
            raise StorageError(f"cannot write {name!r}: no; try again later")

    store.before = refuse
    with pytest.raises(StorageError, match="try again later"):
        pack(source, store, jobs=jobs, work_dir=work_dir)
    assert MANIFEST_PATH not in store.contents()
    heal(store)
    pack(source, store, jobs=jobs, work_dir=work_dir)
    assert store.contents() == whole


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_source_that_fails_amid_slow_uploads_ends_it(tmp_path, store, work_dir, jobs):
    """Workers then wait for room that no delivery will make."""
    source = write_files(tmp_path / "many", {f"{i:03d}": {"jpg": b"1" * 1000} for i in range(40)})

    def vanish(_, name):
        if name.endswith("000001.tar"):
            for path in source.glob("02*.jpg"):
                path.unlink(missing_ok=True)
        time.sleep(0.02)

    store.before = vanish
    with pytest.raises(SourceError, match="No such file"):
        pack(source, store, jobs=jobs, work_dir=work_dir)
    assert MANIFEST_PATH not in store.contents()


def test_ctrl_c_ends_it_and_the_same_command_continues(source, whole, store, work_dir):
    def interrupt(phase, *_):
        if phase == "pack":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, store, progress=interrupt, work_dir=work_dir)
    assert pack(source, store, work_dir=work_dir).resumed_shards >= 1
    assert store.contents() == whole


def test_a_writer_tells_of_an_upload_that_failed(store, work_dir):
    def refuse(_, name):
        if name.endswith(".tar"):
            raise StorageError("cannot write: no; try again later")

    store.before = refuse
    writer = shardpack.ShardWriter(store.url, max_shard_samples=1, work_dir=work_dir)
    with pytest.raises(StorageError, match="try again later"):
        keep_writing(writer, map(str, range(100)))
    with pytest.raises(StorageError, match="nothing was published, because an earlier write failed"):
        writer.close()
    assert MANIFEST_PATH not in store.contents()


def test_a_writer_left_by_an_error_publishes_nothing(store, work_dir):
    def samples():
        yield "a", {"bin": b"1"}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shardpack.pack(samples(), store.url, work_dir=work_dir)
    assert set(store.contents()) == {".shardpack/tmp/lease.json"}
    with shardpack.ShardWriter(store.url, work_dir=work_dir) as writer:
        writer.write("b", {"bin": b"1"})
    assert len(shardpack.open(store.url)) == 1


def test_repeated_keys_are_found_across_shards(store):
    samples = [(key, {"bin": b"1"}) for key in "aba"]
    with pytest.raises(shardpack.ShardpackError, match=r"key is already in 'shard-000000\.tar'"):
        shardpack.pack(samples, store.url, max_shard_samples=1)


@pytest.mark.parametrize("times", [1, 2])
def test_what_arrives_short_is_sent_again(source, whole, store, times):
    left = {"shard-000001.tar": times, "keys.index": times}  # the latter with its checksum left out

    def cut(name, data):
        if left.get(plain(name), 0):
            left[plain(name)] -= 1
            return data[:-1]
        return data

    store.changed = cut
    pack(source, store)
    assert store.contents() == whole


def test_what_never_arrives_whole_counts_for_nothing(source, store):
    store.changed = lambda name, data: data[:-1] if name == "shard-000001.tar" else data
    with pytest.raises(StorageError, match=r"cannot write 'shard-000001\.tar': other bytes arrive in 'memory://"):
        pack(source, store)
    assert "shard-000001.tar" not in store.contents()


def test_a_shard_damaged_in_the_work_folder_is_not_sent(store, tmp_path):
    target = BucketTarget(store)
    (tmp_path / "shard-000000.tar").write_bytes(b"12")
    with pytest.raises(shardpack.ShardpackError, match=r"is damaged: expected .* with CRC32C"):
        target.put_file("shard-000000.tar", tmp_path / "shard-000000.tar", num_bytes=2, crc32c=crc32c(b"13"))
    assert not store.puts(".tar")


def test_long_files_go_through_the_work_folder(store, work_dir):
    target = BucketTarget(store, str(work_dir), spool_bytes=10)
    target.put("x", (b"%d" % i for i in range(20)))
    assert store.contents()["x"] == b"".join(b"%d" % i for i in range(20))
    assert os.listdir(work_dir)
    target.drop_scratch()


def test_what_is_there_is_asked_once():
    """A resumed run asks for all journal entries together, and lists once."""

    class Counted(MemoryStore):
        lists = 0

        def names(self):
            self.lists += 1
            return super().names()

    store = Counted({})
    with Transaction.new_dataset(BucketTarget(store), "pack") as transaction:
        assert transaction.finished("shard-000000.tar", "x") is None
        transaction.keep_only([])
    assert store.lists == 2  # before and after it said that it begins


def test_a_bucket_that_may_not_be_listed_is_taken_for_empty_if_told_so():
    class Unlisted(MemoryStore):
        def names(self):
            raise StorageError("cannot list: access denied")

    with pytest.raises(StorageError):
        BucketTarget(Unlisted({"x": b"1"})).names()
    target = BucketTarget(Unlisted({"x": b"1"}), needs_list=False)
    assert not target.names()
    assert (target.read("x"), target.size("x"), target.size("y")) == (b"1", 1, None)


def test_what_another_process_replaced_is_read_anew(s3_server):
    """Each object is pinned to the version that was read first; lease and manifest are looked at again."""
    pytest.importorskip("obstore")
    url = f"s3://{s3_server.new_bucket()}/ds"
    ours, theirs = (BucketTarget(open_store(url, s3_server.options()), shared=True) for _ in range(2))
    for text in (b"first", b"second"):
        theirs.replace(MANIFEST_PATH, text)
        assert ours.read(MANIFEST_PATH) == text

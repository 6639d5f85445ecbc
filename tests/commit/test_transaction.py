"""Begin, add shards, publish: what is finished stays, what is not does not count, and no other file is touched."""

from __future__ import annotations

import json
import os

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.journal import Entry, entry_name
from shardpack.commit.lease import LEASE_NAME
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError
from shardpack.format.assemble import encode_dataset, recorded_options
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, RUN_PATH, WORK_FOLDER, index_path
from shardpack.storage.open import open_store
from tests.commit.stores import WatchedStore, heal
from tests.fakes import file_contents


@pytest.fixture
def made(tmp_path):
    """A dataset of three shards, to take shards from."""
    with shardpack.ShardWriter(tmp_path / "made", max_shard_samples=1) as writer:
        for key in "abc":
            writer.write(key, {"bin": key.encode() * 100})
    return tmp_path / "made"


class Place:
    """A folder or a bucket, made anew by each run."""

    def __init__(self, kind, tmp_path):
        self.kind, self.path, self.store = kind, tmp_path / "out", WatchedStore()
        self.scratch = tmp_path / "scratch"

    def target(self):
        if self.kind == "folder":
            return FolderTarget(str(self.path), seconds_to_wait=0.1)
        return BucketTarget(self.store, str(self.scratch))

    @property
    def location(self):
        return self.path if self.kind == "folder" else self.store.url

    def contents(self):
        return file_contents(self.path) if self.kind == "folder" else self.store.contents()


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    return Place(request.param, tmp_path)


def infos(made):
    return list(shardpack.open(made).shards)


def deliver(transaction, made, info, digest="digest"):
    for name in (info.name, info.index_path):
        with open(transaction.scratch.join(name), "wb") as file:
            file.write((made / name).read_bytes())
    transaction.deliver(info, digest)


def dataset(made, shards):
    keys = list(shardpack.open(made).keys())[: len(shards)]
    recorded = recorded_options(max_shard_bytes=256 << 20, max_shard_samples=1)
    return encode_dataset(shards, hash_keys(keys), packed_with=recorded)


def files_of(made, shards):
    return dataset(made, shards)[1]


def test_shards_and_a_manifest_make_a_dataset(place, made):
    shards = infos(made)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        for info in shards:
            deliver(transaction, made, info)
        transaction.publish(files_of(made, shards))
    found = place.contents()
    assert found == file_contents(made), "and nothing else is left"
    assert list(shardpack.open(place.location).keys()) == list("abc")
    assert not place.scratch.exists() or not os.listdir(place.scratch)


def test_what_was_delivered_is_finished_for_the_same_input_only(place, made):
    first, second, _ = infos(made)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        deliver(transaction, made, first)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        assert transaction.finished(first.name, "digest") == Entry(first, "digest")
        assert transaction.finished(first.name, "other") is None
        assert transaction.finished(second.name, "digest") is None


def test_a_shard_that_changed_since_is_not_finished(place, made):
    first, *_ = infos(made)
    for name in (first.name, first.index_path):
        with Transaction.new_dataset(place.target(), "pack") as transaction:
            deliver(transaction, made, first)
            transaction.put(name, [b"short"])
        with Transaction.new_dataset(place.target(), "pack") as transaction:
            assert transaction.finished(first.name, "digest") is None


def test_dropped_shards_are_gone(place, made):
    shards = infos(made)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        for info in shards:
            deliver(transaction, made, info)
        transaction.drop(shards[0].name)
        transaction.keep_only([shards[0].name, shards[1].name])
        assert {name for name in place.contents() if not name.startswith(WORK_FOLDER)} == {
            shards[1].name,
            shards[1].index_path,
        }


def test_tars_of_other_splits_are_left_alone_unless_a_run_made_them(place, made):
    first, second, *_ = infos(made)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        deliver(transaction, made, first)
        deliver(transaction, made, second)
        for name in ("train-000000.tar", "val-000007-00.tar.zst", "shard-000009.tar"):
            transaction.put(name, [b"not in the journal"])
        assert transaction.keep_only(["train-000001.tar"]) == set()
        kept = {name for name in place.contents() if not name.startswith(WORK_FOLDER)}
        assert kept == {"val-000007-00.tar.zst"}


def test_indexes_of_no_shard_are_gone(place, made):
    """A run that replaced several generations was killed while it deleted their indexes."""
    first, second, *_ = infos(made)
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        for info in (first, second):
            deliver(transaction, made, info)
        for path in (index_path(first.name, 1), index_path("photos.tar")):
            transaction.put(path, [b"older"])
        assert transaction.keep_only([first.name]) == {first.name}
        assert {name for name in place.contents() if not name.startswith(WORK_FOLDER)} == {
            first.name,
            first.index_path,
        }


def test_left_without_publishing_it_is_no_dataset(place, made):
    with Transaction.new_dataset(place.target(), "pack") as transaction:
        deliver(transaction, made, infos(made)[0])
    assert MANIFEST_PATH not in place.contents()
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(place.location)


def test_a_run_that_was_killed_at_its_last_step_is_complete(place, made):
    shards = infos(made)
    with Transaction.new_dataset(place.target(), "pack", run_digest=lambda: "run") as transaction:
        for info in shards:
            deliver(transaction, made, info)
        files = files_of(made, shards)
        transaction.publish(files)
    target = place.target()
    if place.kind == "folder":
        (place.path / WORK_FOLDER).mkdir()
    target.put(RUN_PATH, [json.dumps({"run": "run"}).encode()])
    with Transaction.new_dataset(place.target(), "pack", run_digest=lambda: "run") as transaction:
        assert transaction.complete
    assert place.contents() == file_contents(made)
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        Transaction.new_dataset(place.target(), "pack", run_digest=lambda: "run")


def test_published_files_come_in_order_with_the_manifest_last(made):
    place = WatchedStore()
    shards = infos(made)
    with Transaction.new_dataset(BucketTarget(place), "pack") as transaction:
        for info in shards:
            deliver(transaction, made, info)
        place.log.clear()
        files = files_of(made, shards)
        transaction.publish(files)
    names = [(what, name) for what, name in place.log if what != "delete"]
    *segments, own, copied = [name for name, _ in files]
    assert names == [
        *(("put", name) for name in segments),
        ("create", own),
        ("put", RUN_PATH),
        ("put", copied),
    ]


# Tars of the user


def test_tars_of_an_index_run_are_never_deleted(place, made):
    """`index` was killed; then `pack` writes to the same folder."""
    for name in ("shard-000000.tar", "shard-000001.tar"):
        if place.kind == "folder":
            place.path.mkdir(exist_ok=True)
            (place.path / name).write_bytes((made / name).read_bytes())
        else:
            place.store.put(name, (made / name).read_bytes())
    first, *_ = infos(made)
    with Transaction.index_beside(place.target()) as transaction:
        transaction.put_index(Entry(first, "digest"), [(made / first.index_path).read_bytes()])
    before = {name: data for name, data in place.contents().items() if name.endswith(".tar")}
    for force in (False, True):
        with pytest.raises(OutputExistsError, match="run the same index command again"):
            shardpack.pack([("x", {"bin": b"1"})], place.location, force=force)
    assert {name: data for name, data in place.contents().items() if name.endswith(".tar")} == before
    shardpack.index(place.location)
    assert shardpack.verify(place.location, full=True).ok


def test_rolled_back_nothing_is_left(place, made):
    first, *_ = infos(made)
    with Transaction.index_beside(place.target()) as transaction:
        transaction.put_index(Entry(first, "digest"), [b"1"])
        transaction.roll_back()
    assert not place.contents()


def test_a_kill_amid_cleaning_rolls_nothing_back_that_is_published(made):
    store = WatchedStore()
    shards = infos(made)
    for info in shards:
        store.put(info.name, (made / info.name).read_bytes())

    def refuse(what, _):
        if what == "delete":
            raise KeyboardInterrupt

    with Transaction.index_beside(BucketTarget(store)) as transaction:
        for info in shards:
            transaction.put_index(Entry(info, "digest"), [(made / info.index_path).read_bytes()])
        store.before = refuse
        with pytest.raises(KeyboardInterrupt):
            transaction.publish(files_of(made, shards))
        heal(store)
        transaction.roll_back()
    assert shardpack.verify(store.url, full=True).ok


# Two at once, where there is no lock


def indexing(store):
    return Transaction.index_beside(BucketTarget(store))


def put_index(transaction, made, info):
    transaction.put_index(Entry(info, "digest"), [(made / info.index_path).read_bytes()])


@pytest.fixture
def tars(made):
    store = WatchedStore()
    for info in infos(made):
        store.put(info.name, (made / info.name).read_bytes())
    return store


def in_work_folder(store):
    return sorted(name for name in store.contents() if name.startswith(WORK_FOLDER))


def test_who_came_second_goes_on_and_the_first_leaves_no_entry(tars, made):
    first_shard, second_shard, _ = infos(made)
    with indexing(tars) as first:
        put_index(first, made, first_shard)
        shardpack.index(tars.url)
        before = tars.contents()
        with pytest.raises(OutputExistsError, match="another process"):
            put_index(first, made, second_shard)
    assert tars.contents() == before
    assert not in_work_folder(tars)


def test_an_entry_that_was_under_way_is_taken_back(tars, made):
    """It was written after the other run had looked for entries to remove."""
    first_shard, second_shard, _ = infos(made)

    def end_another_run(_, name):
        if name == entry_name(first_shard.name):
            heal(tars)
            shardpack.index(tars.url)

    with indexing(tars) as first:
        tars.before = end_another_run
        put_index(first, made, first_shard)
        assert in_work_folder(tars) == [entry_name(first_shard.name)]
        with pytest.raises(OutputExistsError, match="another process"):
            put_index(first, made, second_shard)
    assert not in_work_folder(tars)
    assert shardpack.verify(tars.url, full=True).ok


def test_entries_of_the_one_that_goes_on_are_left_to_it(tars, made):
    first_shard, second_shard, third_shard = infos(made)
    with indexing(tars) as first:
        put_index(first, made, first_shard)
        put_index(first, made, third_shard)
        with indexing(tars) as second:
            put_index(second, made, first_shard)
            put_index(second, made, second_shard)
            with pytest.raises(OutputExistsError, match="another process"):
                first.publish(files_of(made, infos(made)))
            first.release()
            entries = [entry_name(info.name) for info in (first_shard, second_shard)]
            assert in_work_folder(tars) == sorted([*entries, LEASE_NAME])
            put_index(second, made, third_shard)
            second.publish(files_of(made, infos(made)))
    assert not in_work_folder(tars)
    assert shardpack.verify(tars.url, full=True).ok


# Secrets


def test_no_secret_is_written(tmp_path):
    """Whatever a location or an option holds, nothing of it goes into lease, journal or manifest."""
    store = WatchedStore()
    written = []
    store.changed = lambda name, data: written.append((name, data)) or data
    source = tmp_path / "secret-source"
    source.mkdir()
    (source / "a.jpg").write_bytes(b"1")
    shardpack.pack(source, store.url, layout="files", jobs=1)
    shardpack.copy(store.url, tmp_path / "copy")
    assert any("lease" in name for name, _ in written)
    assert not [name for name, data in written if b"secret" in data]
    assert open_store(store.url) is store

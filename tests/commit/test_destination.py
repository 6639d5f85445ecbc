"""Targets as workers on other machines see them: what they deliver is there, and only under the lease."""

from __future__ import annotations

import pickle

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.lease import LEASE_NAME
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.write.pack_run import plan_shards
from shardpack.write.pack_shard import pack_shard
from shardpack.write.sharding import ShardLimits
from tests.commit.stores import WatchedStore
from tests.fakes import inline_listing

PLAN = plan_shards(inline_listing({"a": {"bin": b"1"}, "b": {"bin": b"2"}}), ShardLimits(max_samples=1))


@pytest.fixture(params=["folder", "bucket"])
def target(request, tmp_path):
    if request.param == "folder":
        return FolderTarget(str(tmp_path / "out"))
    return BucketTarget(WatchedStore(), str(tmp_path / "work"))


def make(destination, shard):
    """Make and deliver a shard as a worker does; return what it is, and where it was made."""
    with destination.scratch() as scratch:
        info = pack_shard(PLAN.task(shard, scratch))
        destination.deliver(info)
        return info, scratch.path


def test_what_is_delivered_and_recorded_becomes_the_dataset(target, tmp_path):
    with Transaction.new_dataset(target, "pack") as transaction:
        infos = []
        for shard in range(2):
            info, scratch = make(transaction.destination(), shard)
            infos.append(info)
            assert transaction.finished(info.name, "digest") is None
            transaction.record(info, "digest")
            assert transaction.finished(info.name, "digest").info == info
            assert transaction.read_index(info.index_path)
            assert not FolderTarget(scratch).names()
        transaction.publish(encode_dataset(infos, hash_keys(["a", "b"]), packed_with={})[1])
    files = {name for name in target.opener()().names() if name != ".shardpack"}
    assert {info.name for info in infos} | {MANIFEST_PATH} < files
    assert not [name for name in files if name.startswith(WORK_FOLDER)]
    assert not list(tmp_path.glob("work/*"))


def test_nothing_is_delivered_once_the_lease_is_lost(target):
    with Transaction.new_dataset(target, "pack") as transaction:
        destination = transaction.destination()
        assert destination.is_visible()
        target.put(LEASE_NAME, [b"another's"])
        assert not destination.is_visible()
        with pytest.raises(OutputExistsError, match="another process is writing to"):
            make(destination, 0)
        with pytest.raises(OutputExistsError, match="another process is writing to"):
            transaction.record(ShardInfo("shard-000000.tar", 1, 2048, 0, 100, 0, {"bin": 1}), "digest")
    assert target.opener()().size("shard-000000.tar") is None


def test_marks_are_found_once(target):
    with Transaction.new_dataset(target, "pack") as transaction:
        assert not transaction.has_mark("mark")
        transaction.destination().leave_mark("mark")
        assert transaction.has_mark("mark")
        assert not transaction.has_mark("mark")


def test_a_destination_pickles(tmp_path):
    with Transaction.new_dataset(FolderTarget(str(tmp_path)), "pack") as transaction:
        destination = pickle.loads(pickle.dumps(transaction.destination()))
        assert destination.is_visible()
        assert make(destination, 1)[0].name == "shard-000001.tar"


def test_a_relative_folder_is_the_same_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Transaction.new_dataset(FolderTarget("out"), "pack") as transaction:
        destination = transaction.destination()
        monkeypatch.chdir("/")
        assert destination.is_visible()
        monkeypatch.chdir(tmp_path)

"""Entries of finished shards: taken only if they are whole and of the same input."""

from __future__ import annotations

import json

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.journal import Entry, Journal, entry_name, entry_shard
from shardpack.format.layout import RUN_PATH, WORK_FOLDER
from shardpack.format.shard_info import ShardInfo
from shardpack.storage.memory import MemoryStore


def info(name="shard-000000.tar"):
    return ShardInfo(name, 2, 10, 1, 20, 2, {"jpg": 2})


@pytest.fixture
def target():
    return BucketTarget(MemoryStore({}))


def test_an_entry_comes_back(target):
    entry = Entry(info(), "digest", {"ignored": 3})
    Journal(target).add(entry)
    assert Journal(target).find("shard-000000.tar") == entry
    assert list(Journal(target).shard_names()) == ["shard-000000.tar"]
    assert Journal(target).find("shard-000001.tar") is None


@pytest.mark.parametrize(
    "name", ["a/b.tar", "a%2Fb.tar", "x", "lease", "run", "é" * 200 + ".tar", "d/" * 300 + "x.tar"]
)
def test_any_shard_name_has_an_entry_of_its_own(target, name):
    journal = Journal(target)
    journal.write_run_digest("run")
    journal.add(Entry(info(name), "digest"))
    assert journal.find(name).info.name == name
    assert list(journal.shard_names()) == [name]
    assert journal.run_digest() == "run"
    assert len(entry_name(name).rpartition("/")[2].encode()) <= 255


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"input": 5, "shard": {}, "more": {}}', b'{"shard": {"name": 7}}', b"\xff"]
)
def test_half_an_entry_counts_for_nothing(target, text):
    target.put(entry_name("shard-000000.tar"), [text])
    target.put(RUN_PATH, [text])
    assert Journal(target).find("shard-000000.tar") is None
    assert not list(Journal(target).shard_names())
    assert Journal(target).run_digest() is None


def test_an_entry_under_another_name_counts_for_nothing(target):
    Journal(target).add(Entry(info(), "digest"))
    target.put(entry_name("shard-000001.tar"), [target.read(entry_name("shard-000000.tar"))])
    assert Journal(target).find("shard-000001.tar") is None
    assert list(Journal(target).shard_names()) == ["shard-000000.tar"]


def test_a_hostile_entry_leads_nowhere(target):
    Journal(target).add(Entry(info("../../thesis.tar"), "digest"))
    assert Journal(target).find("../../thesis.tar") is None
    assert not list(Journal(target).shard_names())


def test_it_tells_of_digests_and_shards_only(target):
    Journal(target).add(Entry(info(), "digest"))
    assert set(json.loads(target.read(entry_name("shard-000000.tar")))) == {"input", "by", "shard", "more"}


def test_an_entry_tells_its_shard():
    for name in ("shard-000000.tar", "train-000012-03.tar.zst"):
        assert entry_shard(entry_name(name)) == name
    assert entry_shard(entry_name("photos/a.tar")) is None
    assert entry_shard(f"{WORK_FOLDER}/plan.json") is None
    assert entry_shard("shard-000000.tar.done.json") is None

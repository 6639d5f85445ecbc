"""A plan is written as it says, and only over the dataset that it was made for."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.edit.repair_plan import RepairPlan, refuse_edited, write_plan
from shardpack.errors import OutputExistsError
from shardpack.format.layout import MANIFEST_PATH
from tests.commit.stores import WatchedStore


@pytest.fixture
def store():
    store = WatchedStore()
    shardpack.pack([("a", {"bin": b"1"}), ("b", {"bin": b"2"})], store.url)
    store.put("damaged", b"x")
    store.log.clear()
    return store


def plan(text, *, files=(("again", [b"1", b"2"]),), unwanted=("damaged",)):
    return RepairPlan(text, files, unwanted, lost=(), broken=(), has_table=True)


def test_what_is_in_the_way_goes_first(store):
    write_plan(target_of(store), plan(store.contents()[MANIFEST_PATH]))
    assert store.log == [("delete", "damaged"), ("put", "again")]
    assert store.contents()["again"] == b"12"


def test_nothing_is_written_of_nothing_or_over_another_generation(store):
    text = store.contents()[MANIFEST_PATH]
    write_plan(target_of(store), plan(text, files=(), unwanted=()))
    assert store.log == []
    shardpack.delete(store.url, ["a"])
    store.log.clear()
    with pytest.raises(OutputExistsError, match="changed by another process"):
        write_plan(target_of(store), plan(text))
    assert store.log == []
    refuse_edited(target_of(store), store.contents()[MANIFEST_PATH])

"""Objects in memory."""

from __future__ import annotations

from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.memory import MemoryStore
from tests.storage.contract import StoreContract, WritableContract


class TestMemoryStore(StoreContract, WritableContract):
    @classmethod
    def make_store(cls, objects):
        return MemoryStore(objects)

    def test_what_is_stored_is_returned_itself(self):
        data = b"abc" * 100
        assert MemoryStore({"a": data}).get("a") is data


def test_nothing_is_worth_merging():
    assert MemoryStore({}).merge_limits == MergeLimits(max_gap_bytes=0, max_request_bytes=0)


def test_later_changes_of_the_mapping_do_not_matter():
    objects = {"a": b"1"}
    store = MemoryStore(objects)
    objects["a"] = b"2"
    assert store.get("a") == b"1"

"""Objects in memory, alone and laid over another store."""

from __future__ import annotations

import pytest

from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.storage.contract import StoreContract, WritableContract


class TestMemoryStore(StoreContract, WritableContract):
    @classmethod
    def make_store(cls, objects):
        return MemoryStore(objects)

    def test_what_is_stored_is_returned_itself(self):
        data = b"abc" * 100
        assert MemoryStore({"a": data}).buffer("a") is data


class TestAboveAnother(StoreContract):
    """Every object comes from the base."""

    @classmethod
    def make_store(cls, objects):
        return MemoryStore({"other.bin": b"x"}, base=MemoryStore(objects, location="memory://base"))


class TestMixed(StoreContract):
    """Some objects are laid over an older object of the base."""

    @classmethod
    def make_store(cls, objects):
        below = {name: b"" if name == "a.bin" else data for name, data in objects.items()}
        return MemoryStore({"a.bin": objects.get("a.bin", b"")}, base=MemoryStore(below))


def test_the_base_says_what_is_worth_merging(tmp_path):
    base = LocalStore(tmp_path)
    store = MemoryStore({}, base=base)
    assert store.merge_limits == base.merge_limits
    assert store.location == base.location
    assert MemoryStore({}).merge_limits == MergeLimits(max_gap_bytes=0, max_request_bytes=0)


@pytest.mark.parametrize("base", [None, MemoryStore({})])
def test_later_changes_of_the_mapping_do_not_matter(base):
    objects = {"a": b"1"}
    store = MemoryStore(objects, base=base)
    objects["a"] = b"2"
    assert store.buffer("a") == b"1"

"""Objects in memory in front of another store."""

from __future__ import annotations

import pickle

from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.overlay import OverlayStore
from shardpack.storage.protocols import Ranges
from tests.storage.contract import StoreContract


class TestAboveAnother(StoreContract):
    """Every object comes from the store."""

    @classmethod
    def make_store(cls, objects):
        return OverlayStore({"other.bin": b"x"}, MemoryStore(objects, location="memory://base"))


class TestMixed(StoreContract):
    """Some objects replace an older object of the store."""

    @classmethod
    def make_store(cls, objects):
        below = {name: b"" if name == "a.bin" else data for name, data in objects.items()}
        return OverlayStore({"a.bin": objects.get("a.bin", b"")}, MemoryStore(below))


def test_the_store_says_what_is_worth_merging(tmp_path):
    base = LocalStore(tmp_path)
    store = OverlayStore({}, base)
    assert (store.merge_limits, store.location) == (base.merge_limits, base.location)


def test_later_changes_of_the_mapping_do_not_matter():
    objects = {"a": b"1"}
    store = OverlayStore(objects, MemoryStore({}))
    objects["a"] = b"2"
    assert store.get("a") == pickle.loads(pickle.dumps(store)).get("a") == b"1"


def test_many_objects_of_both():
    store = OverlayStore({"a": b"12"}, MemoryStore({"a": b"old", "b": b"34"}))
    wanted = [Ranges(path, [0, 1], [1, 1]) for path in ("a", "b")]
    assert store.get_many(wanted) == [[b"1", b"2"], [b"3", b"4"]]
    assert store.get_many(wanted[1:]) == [[b"3", b"4"]]

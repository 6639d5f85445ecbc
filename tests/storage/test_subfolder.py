"""A folder of a store: a store like any other, which reads and writes nothing beside it."""

from __future__ import annotations

import shardpack
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.overlay import OverlayStore
from shardpack.storage.subfolder import SubfolderStore, subfolder
from tests.storage.contract import StoreContract, WritableContract


class TestSubfolderStore(StoreContract, WritableContract):
    folder_in_errors = "some/folder/"

    @classmethod
    def make_store(cls, objects):
        inside = {f"some/folder/{name}": data for name, data in objects.items()}
        return SubfolderStore(
            MemoryStore({"a.bin": b"beside", "some/folder2/a.bin": b"beside", **inside}), "some/folder"
        )


def test_a_folder_of_a_local_store_is_one(tmp_path):
    store = subfolder(LocalStore(tmp_path), "some/folder")
    store.put("a.bin", b"abc")
    assert (tmp_path / "some" / "folder" / "a.bin").read_bytes() == b"abc"
    assert store.folder == str(tmp_path / "some" / "folder")


def test_its_location_is_that_of_the_folder():
    assert subfolder(MemoryStore({}, location="memory://base"), "a/b").location == "memory://base/a/b"
    assert subfolder(MemoryStore({}), "a/b").location == "memory://a/b"


def test_of_what_cannot_be_written_it_cannot_be_either():
    store = subfolder(OverlayStore({}, MemoryStore({})), "a")
    assert not store.can_create


def test_a_dataset_may_lie_within_another():
    base = MemoryStore({})
    with shardpack.ShardWriter(base) as writer:
        writer.write("a", {"txt": "outer"})
    inner = subfolder(base, ".shardpack/layers/one")
    with shardpack.ShardWriter(inner) as writer:
        writer.write("a", {"txt": "inner"})
    assert shardpack.open(inner)["a"].decode("txt") == "inner"
    assert shardpack.open(base)["a"].decode("txt") == "outer"
    assert sorted(name for name in base.names() if name.endswith(".tar")) == [
        ".shardpack/layers/one/shard-000000.tar",
        "shard-000000.tar",
    ]

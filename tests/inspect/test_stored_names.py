"""Names of files in `.shardpack` and beside tars, wherever the dataset is."""

from __future__ import annotations

from shardpack.inspect.stored_names import stored_names
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore


def test_folders_and_stores(tmp_path):
    for name in ("a.tar", "sub/b.tar", "other/c.tar", ".shardpack/manifest.json", ".shardpack/index/a.index"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = stored_names(LocalStore(tmp_path), ["a.tar", "sub/b.tar"])
    assert {name for name in names if "." in name.rpartition("/")[2][1:]} == {
        "a.tar", "sub/b.tar", ".shardpack/manifest.json", ".shardpack/index/a.index",
    }  # fmt: skip
    assert stored_names(MemoryStore({"a.tar": b"", "x/y": b""}), []) == ["a.tar", "x/y"]


def test_a_store_that_lists_nothing():
    class Silent:
        folder = None

    assert stored_names(Silent(), []) == []

"""Which kind of place a location is, and what both kinds can do."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.open_target import target_of
from shardpack.errors import OptionError
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import as_writable


def test_a_location_or_a_store(tmp_path):
    assert isinstance(target_of(as_writable(tmp_path)), FolderTarget)
    assert isinstance(target_of(LocalStore(tmp_path)), FolderTarget)
    assert isinstance(target_of(as_writable("memory://x")), BucketTarget)
    assert isinstance(target_of(MemoryStore({})), BucketTarget)
    with pytest.raises(OptionError, match="work_dir is for buckets"):
        target_of(LocalStore(tmp_path), work_dir=tmp_path)
    with pytest.raises(OptionError, match="storage_options are for URLs"):
        as_writable(tmp_path, {"region": "x"})
    with pytest.raises(OptionError, match="a web server takes no files; name a folder or a bucket"):
        target_of(as_writable("https://example.org/x"))


@pytest.fixture(params=["folder", "bucket"])
def target(request, tmp_path):
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True)
    return target_of(LocalStore(tmp_path) if request.param == "folder" else MemoryStore({}))


def test_every_verb(target):
    target.refresh()
    target.put("a.index", [b"12", memoryview(b"3")])
    assert target.read("a.index") == b"123"
    assert target.size("a.index") == 3
    assert "a.index" in target.names()
    with open(target.scratch.join("made"), "wb") as file:
        file.write(b"tar")
    target.put_file("x.tar", Path(target.scratch.join("made")), num_bytes=3, crc32c=None)
    assert target.read("x.tar") == b"tar"
    target.delete(["a.index", "nothing"])
    target.delete([])
    assert (target.read("a.index"), target.size("a.index")) == (None, None)
    target.fsync()
    target.drop_scratch()
    target.drop_scratch()


def test_what_edits_ask_for(target):
    target.refresh()
    assert target.can_create
    for name in (
        ".shardpack/tmp/delete-0123abcd/edit.json",
        ".shardpack/tmp/delete-0123abcd/deep/x",
        ".shardpack/keys",
    ):
        target.put(name, [b"1"])
    assert sorted(target.names_below(".shardpack/tmp/delete-0123abcd")) == [
        ".shardpack/tmp/delete-0123abcd/deep/x",
        ".shardpack/tmp/delete-0123abcd/edit.json",
    ]
    assert target.names_below(".shardpack/tmp/delete") == []
    target.clear_scratch()
    assert target.read(".shardpack/tmp/delete-0123abcd/deep/x") == b"1", "edits that were killed are continued"
    target.replace(".shardpack/manifest.json", b"1")
    target.replace(".shardpack/manifest.json", b"22")
    assert target.read(".shardpack/manifest.json") == b"22"


def test_a_store_that_lists_no_folder_is_listed_as_a_whole():
    class Plain(MemoryStore):
        can_create = False

    target = target_of(Plain({"a/b": b"1", "ab": b"1"}), shared=True)
    assert target.names_below("a") == ["a/b"]
    assert not target.can_create

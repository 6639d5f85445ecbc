"""From what users write to a store."""

from __future__ import annotations

import os

import pytest

import shardpack
from shardpack.errors import DatasetNotFoundError, OptionError, ShardpackError
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.open import open_store, with_cache


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"max_requests": "many"}, {"max_seconds": True}])
def test_limits_are_numbers(options):
    with pytest.raises(OptionError, match=f"storage_options: {next(iter(options))} is .*, expected a number above 0"):
        open_store("s3://bucket", options)


def test_drivers_that_are_not_there_are_named():
    with pytest.raises(ShardpackError, match="nowhere"):
        open_store("nowhere://x/y").get("a")


def test_memory_urls_name_one_store_in_this_process():
    open_store("memory://some/place").put("a", b"1")
    assert open_store("memory://some/place/").get("a") == b"1"
    assert isinstance(open_store("memory://other"), MemoryStore)


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}"])
def test_file_urls_are_folders(tmp_path, form):
    folder = tmp_path / "a folder"
    with shardpack.ShardWriter(folder) as writer:
        writer.write("x", {"txt": b"hello"})
    url = form.format(str(folder).replace(" ", "%20"))
    store = open_store(url)
    assert isinstance(store, LocalStore)
    assert store.location == str(folder)
    assert shardpack.open(url)["x"]["txt"] == b"hello"
    assert shardpack.verify(url).ok
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        shardpack.open(f"{url}/nowhere")
    with pytest.raises(OptionError, match="is a folder"):
        open_store(url, {"max_attempts": 3})


def test_packing_to_a_file_url_leaves_what_packing_to_a_folder_does(tmp_path):
    for name in ("a", "b"):
        target = tmp_path / name if name == "a" else f"file://{tmp_path}/{name}"
        shardpack.pack([("x", {"txt": b"1"})], target)
    first, second = ({path.relative_to(tmp_path / name): path.is_file() and path.read_bytes()
                      for path in (tmp_path / name).rglob("*")} for name in ("a", "b"))  # fmt: skip
    assert first == second


def test_file_urls_of_other_machines_are_refused():
    with pytest.raises(OptionError, match="another machine"):
        open_store("file://elsewhere/x")


def test_a_cache_is_for_what_is_remote(tmp_path):
    with pytest.raises(OptionError, match="read in place"):
        with_cache(open_store(tmp_path), tmp_path, "1GB")
    with pytest.raises(OptionError, match="belong together"):
        with_cache(open_store("s3://bucket"), tmp_path, None)
    with pytest.raises(OptionError, match="at least"):
        with_cache(open_store("s3://bucket"), tmp_path, 1)
    assert os.listdir(tmp_path) == []

"""Tars elsewhere than their manifest: which places are followed, and who gets to know what."""

from __future__ import annotations

import pickle

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.storage import overlay as split
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.overlay import Elsewhere, SplitStore, with_shards
from shardpack.storage.protocols import Ranges
from tests.format.builders import entry

NOTHING = Elsewhere()


class At(MemoryStore):
    def __init__(self, location):
        super().__init__({}, location=location)


@pytest.fixture
def opened(monkeypatch):
    """What is opened for tars elsewhere: (URL, options)."""
    calls = []

    def open_store(url, options=None):
        calls.append((url, options))
        return At(url)

    monkeypatch.setattr(split, "open_store", open_store)
    return calls


SECRET = {"token": "secret"}


@pytest.mark.parametrize(
    ("home", "there", "known"),
    [
        ("/data/idx", "https://example.org/tars", True),
        ("/data/idx", "s3://bucket/tars", True),
        ("https://example.org/idx", "https://example.org/tars", True),
        ("https://example.org/idx", "https://example.org.evil.net/tars", False),
        ("https://example.org/idx", "https://example.org:444/tars", False),
        ("https://example.org/idx", "http://example.org/tars", False),
        ("https://example.org/idx", "s3://bucket/tars", False),
        ("s3://mine/idx", "https://evil.net/tars", False),
        ("s3://mine/idx", "s3://theirs/tars", True),
        ("hf://datasets/a/b", "hf://datasets/c/d", True),
        ("memory://x", "https://evil.net/tars", False),
    ],
)
def test_credentials_go_to_no_other_server(opened, home, there, known):
    store = LocalStore(home) if home.startswith("/") else At(home)
    found = with_shards(store, [there], Elsewhere(SECRET))
    assert opened == [(there, SECRET if known else None)]
    assert (found.location, found.shards_location) == (home, there)


@pytest.mark.parametrize(
    ("home", "there"),
    [
        ("/data/idx", "file:///etc"),
        ("/data/idx", "local:///etc"),
        ("/data/idx", "sftp://host/x"),
        ("/data/idx", "smb://host/x"),
        ("/data/idx", "reference://x"),
        ("s3://bucket/idx", "sftp://host/x"),
        ("https://host/idx", "/etc"),
        ("https://host/idx", "../tars"),
        ("s3://bucket/idx", ".."),
        ("memory://x", "/etc"),
    ],
)
def test_places_that_are_not_followed(opened, home, there):
    store = LocalStore(home) if home.startswith("/") else At(home)
    with pytest.raises(OptionError, match="says that its tars are"):
        with_shards(store, [there], NOTHING)
    assert opened == []


def test_the_scheme_of_the_manifest_is_followed(opened):
    with_shards(At("sftp://host/idx"), ["sftp://host/tars"], Elsewhere(SECRET))
    assert opened == [("sftp://host/tars", SECRET)]


def test_paths_are_those_of_the_manifests_folder(tmp_path):
    for text, expected in (("../tars", tmp_path / "tars"), ("sub", tmp_path / "idx" / "sub"), ("/data", "/data")):
        found = with_shards(LocalStore(tmp_path / "idx"), [text], NOTHING)
        assert found.shards_location == str(expected)


def test_options_of_a_folder_are_refused(tmp_path):
    for location in (".", "../tars"):
        with pytest.raises(OptionError, match=r"storage_options are for URLs, and .* is a folder"):
            with_shards(LocalStore(tmp_path), [location], Elsewhere(SECRET))
        with pytest.raises(OptionError, match="cache_dir and cache_bytes are for URLs"):
            with_shards(LocalStore(tmp_path), [location], Elsewhere(cache_dir=tmp_path, cache_bytes="1GB"))
    store = LocalStore(tmp_path)
    assert with_shards(store, ["."], NOTHING) is store


def test_two_stores_read_as_one():
    indexes = MemoryStore(
        {".shardpack/manifest.json": b"{}", ".shardpack/a.index": b"index", ".shardpack/keys.index": b"keys"},
        location="memory://i",
    )
    shards = MemoryStore({"a.tar": b"tar and more", "sub/b": b"b"}, location="memory://s")
    store = SplitStore(indexes, shards)
    assert bytes(store.buffer(".shardpack/manifest.json")) == b"{}"
    assert store.get_range("a.tar", start=4, length=3) == b"and"
    assert store.get_ranges(".shardpack/a.index", starts=[0, 2], lengths=[2, 3]) == [b"in", b"dex"]
    assert (store.size(".shardpack/keys.index"), store.size("sub/b")) == (4, 1)
    wanted = [Ranges("a.tar", [0, 8], [3, 4]), Ranges(".shardpack/a.index", [0], [1]), Ranges("sub/b", [0], [1])]
    assert store.get_many(wanted) == [[b"tar", b"more"], [b"i"], [b"b"]]
    assert store.get_many([]) == []
    assert store.map("a.tar") == b"tar and more"
    assert store.is_cached("a.tar", 0)
    store.prefetch("a.tar", starts=[0], lengths=[1])
    store.stats.add_used(5)
    stats = store.stats.snapshot()
    assert (stats.requests, stats.bytes_used) == (1 + 1 + 2 + 4, 5), "those of both stores"
    again = pickle.loads(pickle.dumps(store))
    assert again.get_range(".shardpack/a.index", start=0, length=5) == b"index"
    assert (again.location, again.shards_location, again.stats.snapshot().requests) == ("memory://i", "memory://s", 1)


def test_what_is_elsewhere_must_be_the_tar_that_the_index_tells_of(tmp_path):
    """A manifest of a stranger cannot make a reader hand out just any file of this machine."""
    data = entry(b"a.jpg", b"x" * 700) + bytes(1024)
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(data)
    shardpack.index(tmp_path / "tars", out=tmp_path / "idx", jobs=1)
    (tmp_path / "tars" / "x.tar").write_bytes(b"secret".ljust(len(data), b"!"))
    for verify in (None, True, False):
        with pytest.raises(shardpack.ShardpackError, match=r"does not match its shard|is damaged"):
            shardpack.open(tmp_path / "idx", verify=verify)[0]


def test_it_pickles_with_its_dataset(tmp_path):
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(entry(b"a.jpg", b"x" * 700) + bytes(1024))
    shardpack.index(tmp_path / "tars", out=tmp_path / "idx", jobs=1)
    ds = pickle.loads(pickle.dumps(shardpack.open(tmp_path / "idx")))
    assert ds["a"]["jpg"] == b"x" * 700

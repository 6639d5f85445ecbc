"""Tars elsewhere than their manifest: which places are followed, and who gets to know what."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import OptionError
from shardpack.storage import locations as module
from shardpack.storage.adapter import adapt
from shardpack.storage.local import LocalStore
from shardpack.storage.locations import LocationOptions, open_layer, open_locations, resolve_location
from shardpack.storage.memory import MemoryStore

NOTHING = LocationOptions()
SECRET = {"token": "secret"}


class At(MemoryStore):
    def __init__(self, location):
        super().__init__({}, location=location)


def home_at(home):
    return LocalStore(home) if home.startswith("/") else At(home)


@pytest.fixture
def opened(monkeypatch):
    """What is opened for tars elsewhere: (place, options)."""
    calls = []

    def open_store(place, options=None):
        calls.append((place, options))
        return At(place)

    monkeypatch.setattr(module, "open_store", open_store)
    return calls


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
    found = open_locations(home_at(home), [".", there], LocationOptions(SECRET, allow_locations=True))
    assert opened == [(there, SECRET if known else None)]
    assert [store.location for store in found.tars] == [home, there]
    assert found.location == home


def test_a_dataset_is_where_its_manifest_was_opened(tmp_path):
    home = LocalStore(tmp_path / "indexes")
    assert open_locations(home, ["../tars"], LocationOptions()).location == str(tmp_path / "indexes")
    elsewhere = open_locations(LocalStore(tmp_path / "tars"), ["."], LocationOptions(), sidecars=home)
    assert elsewhere.location == str(tmp_path / "tars")


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
        ("s3://bucket/idx", "../../other"),
        ("s3://bucket/idx", "a/../../../b"),
        ("s3://bucket/idx", "..\\x"),
        ("memory://x", "/etc"),
    ],
)
def test_places_that_are_not_followed(opened, home, there):
    for allow in (False, True):
        with pytest.raises(OptionError, match=r"says that its tars are .* not followed"):
            open_locations(home_at(home), [there], LocationOptions(allow_locations=allow))
    assert opened == []


@pytest.mark.parametrize(
    ("home", "there", "allow", "follows"),
    [
        ("s3://mine/idx", "s3://mine/other", False, True),
        ("s3://mine/idx", "s3://theirs/x", False, False),
        ("s3://mine/idx", "s3://theirs/x", True, True),
        ("s3://mine/idx", "s3://theirs/x", ["s3://theirs"], True),
        ("s3://mine/idx", "s3://theirs/x", ["s3://theirs/x/"], True),
        ("s3://mine/idx", "s3://theirs/xyz", ["s3://theirs/x"], False),
        ("https://host/idx", "https://host/tars", False, True),
        ("https://host/idx", "https://host:8/tars", False, False),
        ("hf://datasets/a/b", "hf://datasets/a/b/tars", False, True),
        ("hf://datasets/a/b", "hf://datasets/a/c", False, False),
        ("/data/idx", "s3://theirs/x", False, True),
    ],
)
def test_another_bucket_only_if_the_user_says_so(home, there, allow, follows):
    if follows:
        assert resolve_location(home_at(home), there, allow) == there
    else:
        with pytest.raises(OptionError, match="allow_locations="):
            resolve_location(home_at(home), there, allow)


def test_relative_locations_of_a_bucket_stay_in_it():
    home = At("s3://bucket/sets/train")
    assert resolve_location(home, "../more") == "s3://bucket/sets/more"
    assert resolve_location(home, "sub") == "s3://bucket/sets/train/sub"
    assert resolve_location(home, "../..") == "s3://bucket"


def test_the_scheme_of_the_manifest_is_followed(opened):
    open_locations(At("sftp://host/idx"), ["sftp://host/tars"], LocationOptions(SECRET))
    assert opened == [("sftp://host/tars", SECRET)]


def test_paths_are_those_of_the_manifests_folder(tmp_path):
    for text, expected in (("../tars", tmp_path / "tars"), ("sub", tmp_path / "idx" / "sub"), ("/data", "/data")):
        found = open_locations(LocalStore(tmp_path / "idx"), [text], NOTHING)
        assert found.tars[0].location == str(expected)


def test_options_of_a_folder_are_refused(tmp_path):
    for locations in (["."], ["../tars"]):
        with pytest.raises(OptionError, match=r"storage_options are for URLs, and .* is a folder"):
            open_locations(LocalStore(tmp_path), locations, LocationOptions(SECRET))
        with pytest.raises(OptionError, match="cache_dir and cache_bytes are for URLs"):
            open_locations(LocalStore(tmp_path), locations, LocationOptions(cache_dir=tmp_path, cache_bytes="1GB"))


def test_the_stores_of_a_dataset_have_one_bill():
    home, other = MemoryStore({"a": b"1234"}, location="memory://a"), MemoryStore({"b": b"12"}, location="memory://b")
    stores = open_locations(home, ["."], NOTHING, sidecars=other)
    home.get_range("a", start=0, length=4)
    other.get_range("b", start=0, length=2)
    assert (stores.stats().requests, stores.stats().bytes_fetched) == (2, 6)
    one = open_locations(home, [".", "."], NOTHING)
    assert one.stats().bytes_fetched == 4, "a store is counted once"
    assert pickle.loads(pickle.dumps(stores)).sidecars.get_range("b", start=0, length=2) == b"12"
    stores.close()
    assert (stores.remote, stores.checks_reads, stores.prefetch_depth) == (False, False, 0)


def test_a_store_without_a_url_leads_nowhere_unasked(tmp_path):
    class Bare:
        def get_range(self, path, *, start, length): ...

        def get_ranges(self, path, *, starts, lengths): ...

        def size(self, path): ...

    home = adapt(Bare())
    for location in (str(tmp_path), "../../x", "https://evil.example/x"):
        with pytest.raises(OptionError, match="allow_locations"):
            resolve_location(home, location)
    assert resolve_location(home, str(tmp_path), [str(tmp_path)]) == str(tmp_path)


# --- Layers


def test_a_layer_in_the_own_folder_is_where_that_is(tmp_path):
    sidecars = MemoryStore({".shardpack/layers/one/a": b"12"}, location="memory://sidecars")
    inside = open_layer(LocalStore(tmp_path), ".shardpack/layers/one", NOTHING, sidecars=sidecars)
    assert inside.store.get_range("a", start=0, length=2) == b"12"
    assert inside.stores(["."]).tars == (inside.store,)
    assert open_layer(LocalStore(tmp_path / "ds"), "../other", NOTHING).store.folder == str(tmp_path / "other")


@pytest.mark.parametrize("location", [".shardpack/../../../x", ".shardpack/layers/../../../../x", "/etc"])
def test_a_layer_of_a_bucket_does_not_leave_it(location):
    with pytest.raises(OptionError, match=r"says that a layer is at .* is not followed; or pack the dataset"):
        open_layer(At("s3://bucket/ds"), location, NOTHING)


def test_a_layer_of_another_bucket_only_if_the_user_says_so(opened):
    with pytest.raises(
        OptionError, match="a layer is at 's3://theirs/x', another bucket or host: pass allow_locations="
    ):
        open_layer(At("s3://mine/ds"), "s3://theirs/x", NOTHING)
    layer = open_layer(At("s3://mine/ds"), "s3://theirs/x", LocationOptions(SECRET, allow_locations=["s3://theirs"]))
    assert opened == [("s3://theirs/x", SECRET)]
    with pytest.raises(OptionError, match="allow_locations="):
        layer.stores(["s3://third/tars"])


def test_credentials_go_to_no_layer_of_another_host_nor_to_its_tars(opened):
    layer = open_layer(At("s3://mine/ds"), "https://theirs/x", LocationOptions(SECRET, allow_locations=True))
    layer.stores(["https://theirs/tars", "s3://mine/tars"])
    assert opened == [("https://theirs/x", None), ("https://theirs/tars", None), ("s3://mine/tars", None)]


def test_options_are_for_the_url_of_a_layer_too(tmp_path):
    open_locations(LocalStore(tmp_path), ["."], LocationOptions(SECRET), layers=["s3://theirs/x"])

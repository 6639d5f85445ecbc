"""From a store to its shards: one read, or a clear word."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import CorruptManifestError, DatasetNotFoundError, ShardpackError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.read.open_shards import open_shards
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.format.builders import entry
from tests.read.datasets import CountingStore, numbered, packed

FILES = packed(numbered(12), max_shard_samples=4)


def test_opening_costs_one_read():
    store = CountingStore(FILES)
    shards = open_shards(store, limits=CacheLimits(index_bytes=5))
    assert (len(shards), shards.verify, shards.limits.index_bytes) == (3, True, 5)
    assert len(store.taken()) == 1
    assert not open_shards(store, verify=False).verify


def test_nothing_there():
    for found in ({}, {"sidecars": MemoryStore({}, location="memory://other")}):
        with pytest.raises(DatasetNotFoundError, match=r"no dataset in 'memory://.* is missing; pack one with"):
            open_shards(MemoryStore(FILES if found else {}, location="memory://here"), **found)


def test_sidecars_of_another_store():
    tars = {name: data for name, data in FILES.items() if name.endswith(".tar")}
    rest = {name: data for name, data in FILES.items() if name not in tars}
    shards = open_shards(MemoryStore(tars), sidecars=MemoryStore(rest))
    assert shards.read(7).key == "k/0007"


def test_a_manifest_beyond_all_measure_is_not_read(tmp_path):
    (tmp_path / "ds" / ".shardpack").mkdir(parents=True)
    with (tmp_path / "ds" / MANIFEST_PATH).open("wb") as file:
        file.truncate(200 << 30)
    with pytest.raises(CorruptManifestError, match="too large"):
        open_shards(LocalStore(tmp_path / "ds"))


def test_what_is_elsewhere_must_be_the_tar_that_the_index_tells_of(tmp_path):
    """A manifest of a stranger cannot make a reader hand out just any file of this machine."""
    data = entry(b"a.jpg", b"x" * 700) + bytes(1024)
    (tmp_path / "tars").mkdir()
    (tmp_path / "tars" / "x.tar").write_bytes(data)
    shardpack.index(tmp_path / "tars", out=tmp_path / "idx", jobs=1)
    (tmp_path / "tars" / "x.tar").write_bytes(b"secret".ljust(len(data), b"!"))
    for verify in (None, True, False):
        with pytest.raises(ShardpackError, match=r"does not match its shard|is damaged"):
            open_shards(LocalStore(tmp_path / "idx"), verify=verify).read(0)

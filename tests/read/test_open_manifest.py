"""The manifest of a store, and the error if a store has none."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import CorruptManifestError, DatasetNotFoundError, OptionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.read.open_manifest import load_manifest, reload_manifest
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from tests.fakes import contents
from tests.read.datasets import CountingStore


def test_as_it_is_written_and_as_a_value(tmp_path):
    shardpack.pack([("a", {"bin": b"1"})], tmp_path)
    text, whole = load_manifest(LocalStore(tmp_path))
    assert text == (tmp_path / MANIFEST_PATH).read_bytes()
    assert whole.num_samples == 1


@pytest.fixture
def generations(tmp_path):
    """Return the files of a dataset with two generations."""
    shardpack.pack([("a", {"bin": b"1", "txt": "x"})], tmp_path)
    shardpack.index(tmp_path, force=True, ignore=["*.txt"])
    return contents(tmp_path)


def test_one_read_whichever_generation(generations):
    for number in (1, 2, None):
        store = CountingStore(generations)
        text, found = load_manifest(store, number)
        assert found.generation == (number or 2)
        assert text == generations[manifest_path(number or 2)]
        assert len(store.taken()) == 1
        assert reload_manifest(store, found.generation, crc32c(text)) == found


@pytest.mark.parametrize("damage", [None, b"", b"{}"])
def test_a_generation_that_is_missing_or_damaged(generations, damage):
    for number in (1, 2):
        path = manifest_path(number)
        store = {name: data for name, data in generations.items() if name != path}
        store = MemoryStore(store | ({} if damage is None else {path: damage}))
        if number == 2:
            assert load_manifest(store, 2)[1].generation == 2, "manifest.json is a copy of it"
        else:
            what = "a damaged manifest of generation 1" if damage else "no generation 1"
            with pytest.raises(OptionError, match=f"{what}; the newest is generation 2, open that or an earlier one"):
                load_manifest(store, 1)
    with pytest.raises(DatasetNotFoundError, match="no dataset in 'memory://'"):
        load_manifest(MemoryStore({}), 1)


def test_none_or_a_damaged_one():
    with pytest.raises(DatasetNotFoundError, match="no dataset in 'memory://'"):
        load_manifest(MemoryStore({}))
    with pytest.raises(CorruptManifestError):
        load_manifest(MemoryStore({MANIFEST_PATH: b"{"}))

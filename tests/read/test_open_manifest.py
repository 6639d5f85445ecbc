"""The manifest of a store, and the error if a store has none."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import CorruptManifestError, DatasetNotFoundError
from shardpack.format import manifest
from shardpack.read.open_manifest import load_manifest
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore


def test_as_it_is_written_and_as_a_value(tmp_path):
    shardpack.pack([("a", {"bin": b"1"})], tmp_path)
    text, whole = load_manifest(LocalStore(tmp_path))
    assert text == (tmp_path / manifest.FILE_NAME).read_bytes()
    assert whole.num_samples == 1


def test_none_or_a_damaged_one():
    with pytest.raises(DatasetNotFoundError, match="no dataset in 'memory://'"):
        load_manifest(MemoryStore({}))
    with pytest.raises(CorruptManifestError):
        load_manifest(MemoryStore({manifest.FILE_NAME: b"{"}))

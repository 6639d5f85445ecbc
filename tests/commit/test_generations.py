"""The newest generation is the last whose manifest was created, whatever the copy says."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.generations import (
    Generation,
    generation_at,
    is_later,
    newest_generation,
    newest_undamaged,
    replace_copy,
)
from shardpack.errors import CorruptManifestError, DatasetNotFoundError, StorageError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.format.manifest_json import encode_manifest
from tests.commit.stores import WatchedStore, heal


@pytest.fixture
def store():
    store = WatchedStore()
    shardpack.pack([("a", {"bin": b"1"})], store.url)
    return store


@pytest.fixture
def target(store):
    return BucketTarget(store, shared=True)


def add(store, target, number):
    """Create the manifest of a generation, and not its copy."""
    manifest = replace(newest_generation(target).manifest, generation=number)
    store.put(manifest_path(number), encode_manifest(manifest))
    return Generation(encode_manifest(manifest), manifest)


def test_what_follows_the_copy_is_newer(store, target):
    first = newest_generation(target)
    assert (first.manifest.generation, first.is_copied) == (1, True)
    assert first.crc32c == crc32c(store.contents()[MANIFEST_PATH])
    second = add(store, target, 2)
    assert newest_generation(target) == second
    third = add(store, target, 3)
    assert newest_generation(target) == third
    assert not third.is_copied
    assert generation_at(target, 2) == second
    assert generation_at(target, 4) is None
    assert is_later(third.text, second.manifest)
    assert not is_later(second.text, second.manifest)


def test_the_newest_that_is_left_may_be_behind_a_gap_or_a_damaged_copy(store, target):
    first = newest_undamaged(target)
    assert first == newest_generation(target)
    third = add(store, target, 3)
    store.put(manifest_path(4), b"damaged")
    assert newest_undamaged(target) == third
    store.put(MANIFEST_PATH, b"damaged")
    assert newest_undamaged(target) == third
    target.delete([manifest_path(3), manifest_path(1)])
    assert newest_undamaged(target) is None


def test_what_a_kill_left_incomplete_is_not_a_generation(store, target):
    store.put(manifest_path(2), b"")
    assert newest_generation(target).manifest.generation == 1


def test_bad_manifests_are_refused(store, target):
    text = store.contents()[MANIFEST_PATH]
    store.put(MANIFEST_PATH, text[:-1])
    with pytest.raises(CorruptManifestError):
        newest_generation(target)
    body = text.replace(b'"version": 1', b'"version": 9')[:-25]
    store.put(manifest_path(2), body + f'  "crc32c": "{crc32c(body):08x}"\n}}\n'.encode())
    store.put(MANIFEST_PATH, text)
    with pytest.raises(UnsupportedVersionError, match="upgrade"):
        newest_generation(target)
    store.delete(MANIFEST_PATH)
    with pytest.raises(DatasetNotFoundError, match="shardpack pack"):
        newest_generation(target)


def test_the_copy_becomes_the_newest_one(store, target):
    second, third = add(store, target, 2), add(store, target, 3)
    assert replace_copy(target, second) == third
    assert store.contents()[MANIFEST_PATH] == third.text


def test_who_is_overtaken_leaves_the_later_copy(store, target):
    second = add(store, target, 2)
    third = replace(second.manifest, generation=3)

    def overtake(what, name):
        if (what, name) == ("put", MANIFEST_PATH):
            heal(store)
            store.put(MANIFEST_PATH, encode_manifest(third))

    store.after = overtake
    assert replace_copy(target, second) == second
    assert store.contents()[MANIFEST_PATH] == encode_manifest(third)


def test_damage_on_the_way_is_noticed(store, target):
    second = add(store, target, 2)
    store.changed = lambda _, data: data[:-1]
    with pytest.raises(StorageError, match="other bytes arrive"):
        replace_copy(target, second)

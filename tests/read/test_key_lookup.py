"""Keys to positions, also if hashes collide, or if the key index belongs to another dataset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptIndexError, UnknownKeyError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, file_path
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_table import ShardTable
from shardpack.read import key_lookup as lookup
from shardpack.read.open_dataset import open_shards
from tests.read.datasets import CountingStore, numbered, packed
from tests.sidecars import plain
from tests.strategies import examples


def with_hashes(samples, hashes, *, foreign=False):
    """Return a store whose key index holds these hashes; a foreign one is not in the manifest."""
    files = packed(samples, max_shard_samples=5)
    whole = parse_manifest(files[MANIFEST_PATH])
    table = ShardTable.whole(whole, files.get)
    shards = [table.shard(number) for number in range(len(table))]
    new, more = encode_dataset(shards, np.array(hashes, np.uint64), packed_with=whole.packed_with)
    made = {path: b"".join(parts) for path, parts in more}
    if foreign:
        return CountingStore({**files, file_path(whole.key_segments[0]): made[file_path(new.key_segments[0])]})
    return CountingStore({**files, **made})


@examples(30)
@given(st.lists(st.text("ab", max_size=5), min_size=2, max_size=40, unique=True), st.integers(1, 3))
def test_keys_that_share_a_hash_are_told_apart(keys, hashes):
    keys = [f"k{key}" for key in keys]
    known, unknown = keys[::2], keys[1::2]

    def weak(raw):
        return sum(raw) % hashes

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lookup, "hash_key", weak)
        samples = {key: {"txt": key.encode()} for key in known}
        ds = shardpack.open(with_hashes(samples, [weak(key.encode()) for key in known]))
        for position, key in enumerate(known):
            assert ds.position_of(key) == position
            assert ds[key]["txt"] == key.encode()
        for key in unknown:
            assert key not in ds
            with pytest.raises(UnknownKeyError):
                ds[key]


def found_by_match(store, keys):
    """Return the stored positions of each of these keys, which are all looked up at once."""
    numbers, positions = lookup.KeyLookup(open_shards(store)).match([key.encode() for key in keys])
    assert sorted(positions.tolist()) == positions.tolist()
    found = {key: [] for key in keys}
    for number, position in zip(numbers.tolist(), positions.tolist(), strict=True):
        found[keys[number]].append(position)
    return found


@pytest.fixture(params=[False, True], ids=["local", "remote"])
def is_remote(request):
    return request.param


@examples(30)
@given(st.lists(st.text("ab", max_size=5), min_size=2, max_size=40, unique=True), st.integers(1, 9))
def test_many_keys_match_those_that_are_the_same(keys, hashes):
    known, asked = keys[::2], keys[len(keys) // 4 :]

    def weak(raw):
        return sum(raw) % hashes

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(lookup, "hash_key", weak)
        store = with_hashes({f"k{key}": {"txt": b""} for key in known}, [weak(f"k{key}".encode()) for key in known])
        keys = [f"k{key}" for key in asked]
        expected = {f"k{key}": [known.index(key)] if key in known else [] for key in asked}
        assert found_by_match(store, keys) == expected


def test_many_keys_of_many_pages_match(is_remote):
    samples = {f"{i * 7 % 3000:04d}": {"txt": b""} for i in range(3000)}
    store = CountingStore(packed(samples, max_shard_samples=1000))
    store.remote = is_remote
    asked = [f"{i:04d}" for i in range(2500, 3500)]
    order = list(samples)
    assert found_by_match(store, asked) == {key: [order.index(key)] if key in samples else [] for key in asked}
    assert found_by_match(store, []) == {}


def test_many_keys_over_many_pages():
    samples = {f"{i:04d}": {"txt": b""} for i in range(3000)}
    ds = shardpack.open(CountingStore(packed(samples, max_shard_samples=1000)))
    assert [ds.position_of(key) for key in samples] == list(range(3000))
    assert not any(f"{i:04d}" in ds for i in range(3000, 6000))


@pytest.mark.parametrize("kind", ["other keys", "other order"])
def test_no_key_is_unknown_because_the_key_index_is_foreign(kind):
    """It has the right length and is sound: whether it is ours, the manifest tells."""
    samples = numbered(20)
    foreign = [f"x{key}" for key in samples] if kind == "other keys" else list(samples)[::-1]
    ds = shardpack.open(with_hashes(samples, hash_keys(foreign), foreign=True))
    for key in [*samples, "nobody"]:
        for ask in (lambda key=key: ds[key], lambda key=key: key in ds, lambda key=key: ds.select([key])):
            with pytest.raises(CorruptIndexError, match=r"not of this dataset: .* make it again with") as caught:
                ask()
            assert plain(caught.value.path) == "keys.index"


def test_a_key_index_of_another_length():
    files, others = packed(numbered(20)), packed(numbered(21))
    mine, other = (next(name for name in some if plain(name) == "keys.index") for some in (files, others))
    ds = shardpack.open(CountingStore({**files, mine: others[other]}))
    with pytest.raises(CorruptIndexError, match=rf"expected {len(files[mine])}"):
        ds["k/0001"]
    assert ds[1].key == "k/0001", "positions need no key index"

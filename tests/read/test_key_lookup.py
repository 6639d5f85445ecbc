"""Keys to positions, also where hashes collide and where the key index is somebody else's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptIndexError, UnknownKeyError
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import encode_key_index, hash_keys
from shardpack.read import key_lookup as lookup
from tests.read.datasets import CountingStore, numbered, packed
from tests.strategies import examples


def with_hashes(samples, hashes, *, foreign=False):
    """Return a store whose key index holds these hashes; a foreign one is not in the manifest."""
    files = packed(samples, max_shard_samples=5)
    index = b"".join(encode_key_index(np.array(hashes, np.uint64)))
    if not foreign:
        head = json.loads(files["shardpack.json"])
        head["keys"]["crc32c"] = f"{crc32c(index):08x}"
        files = {**files, "shardpack.json": json.dumps(head).encode()}
    return CountingStore({**files, "keys.index": index})


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
    ds = shardpack.open(with_hashes(samples, hash_keys((key.encode() for key in foreign), 20), foreign=True))
    for key in [*samples, "nobody"]:
        for ask in (lambda key=key: ds[key], lambda key=key: key in ds, lambda key=key: ds.select([key])):
            with pytest.raises(CorruptIndexError, match="not of this dataset; rebuild it with") as caught:
                ask()
            assert caught.value.shard == "keys.index"


def test_a_key_index_of_another_length():
    files = packed(numbered(20))
    ds = shardpack.open(CountingStore({**files, "keys.index": packed(numbered(21))["keys.index"]}))
    with pytest.raises(
        CorruptIndexError, match=rf"expected {json.loads(files['shardpack.json'])['keys']['num_bytes']}"
    ):
        ds["k/0001"]
    assert ds[1].key == "k/0001", "positions need no key index"

"""Index, shard and manifest belong together, or reading says so before it returns a byte."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.dataset import open_dataset
from shardpack.errors import CorruptIndexError, ShardNotFoundError, StaleIndexError
from shardpack.read import shard_checks
from shardpack.read.shard_checks import check_shards, checked_index, fetch_index, headers_match, some_headers
from tests.format.builders import entry
from tests.read.datasets import CountingStore, numbered, packed

FILES = packed(numbered(30), max_shard_samples=15)
(INDEX,) = [name for name in FILES if name.endswith(".shardpack/index/shard-000000.index")]


@pytest.fixture
def opened():
    store = CountingStore(FILES)
    info = open_dataset(store).shards[0]
    store.taken()
    return store, info, checked_index(fetch_index(store, info), info)


def test_a_whole_index(opened):
    _, info, index = opened
    assert (index.num_samples, index.shard_bytes, index.shard_crc32c) == (15, info.num_bytes, info.crc32c)


def test_an_index_of_another_length_is_not_read(opened, monkeypatch):
    """Its checksum would take a minute for 100 GB, and say no more than its length."""
    _, info, _ = opened
    monkeypatch.setattr(shard_checks, "crc32c", lambda _: pytest.fail("read for nothing"))
    for data in (FILES[INDEX] + b"x", FILES[INDEX][:-1], b""):
        with pytest.raises(CorruptIndexError, match=rf"got {len(data)} bytes"):
            checked_index(data, info)


def test_a_damaged_index(opened):
    _, info, _ = opened
    with pytest.raises(CorruptIndexError, match=r"expected .* CRC32C .*, got CRC32C"):
        checked_index(FILES[INDEX][:-1] + b"?", info)


def test_a_missing_index(opened):
    store, info, _ = opened
    store.delete(INDEX)
    with pytest.raises(ShardNotFoundError, match="index is missing; restore it"):
        fetch_index(store, info)


@pytest.mark.parametrize("remote", [False, True])
def test_a_shard_of_another_content_or_length(opened, remote):
    store, info, index = opened
    store.remote = remote
    check_shards(store, [(info, index)])
    store.put(info.name, bytes(len(FILES[info.name])))
    with pytest.raises(StaleIndexError, match="no header of field"):
        check_shards(store, [(info, index)])
    store.put(info.name, FILES[info.name] + bytes(512))
    with pytest.raises(StaleIndexError, match=r"expected .* bytes, got .*shardpack index --force"):
        check_shards(store, [(info, index)])
    store.put(info.name, FILES[info.name][:-512])
    with pytest.raises(StaleIndexError, match=r"expected .* bytes, got .* save its whole samples .*shardpack repair"):
        check_shards(store, [(info, index)])


def test_headers_are_those_of_the_member():
    header = entry(b"a.jpg", b"12345")[:512]
    assert headers_match(header, "a.JPG", 5, "x.tar")
    assert not headers_match(header, "b.jpg", 5, "x.tar")
    assert not headers_match(header, "a.jpg", 6, "x.tar")
    assert not headers_match(bytes(512), "a.jpg", 5, "x.tar")


def test_some_headers_are_of_the_first_and_the_last(opened):
    _, _, index = opened
    wanted = some_headers(index)
    assert [index.row_of(member) for member in wanted.members] == [0, 4, 9, 14]


def test_an_index_that_is_too_long_is_not_fetched(opened):
    store, info, _ = opened
    store.put(INDEX, FILES[INDEX] + bytes(5000))
    store.taken()
    with pytest.raises(CorruptIndexError, match=rf"expected {info.index_bytes} bytes .*got {info.index_bytes + 5000}"):
        fetch_index(store, info)
    assert not [call for call in store.calls if call[2]], "its length was asked for, and no byte of it"


def test_an_index_that_contradicts_the_counts_of_fields(opened):
    _, info, _ = opened
    for counts in ({"bin": 15}, {"bin": 15, "json": 14}, {"bin": 15, "jpg": 15}):
        with pytest.raises(StaleIndexError, match="describe different shards"):
            checked_index(FILES[INDEX], replace(info, samples_per_field=counts))

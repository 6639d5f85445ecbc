"""Indexes are read and compared with their tars, once; together where that saves requests."""

from __future__ import annotations

from contextlib import closing

import pytest

from shardpack.errors import CorruptIndexError, StaleIndexError
from shardpack.read.index_opener import IndexOpener
from shardpack.read.open_dataset import open_shards
from shardpack.read.plain_stores import PlainStores
from shardpack.storage.local import LocalStore
from tests.read.datasets import numbered, write


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path, numbered(9), max_shard_samples=3)
    with closing(open_shards(LocalStore(tmp_path))) as cache:
        yield cache


def cut(cache, number):
    info = cache.shard_list[number]
    with open(f"{cache.stores.of(info).folder}/{info.name}", "rb+") as file:
        file.truncate(info.num_bytes - 512)


def make(cache, *, verify=False):
    return IndexOpener(cache.stores, cache.shard_list, verify=verify), PlainStores(cache.stores)


def test_indexes_come_one_by_one_or_together(dataset):
    opener, plain = make(dataset)
    alone = [opener.open_one(number, plain) for number in (2, 0)]
    together = opener.open_many([2, 0], plain)
    for one, other in zip(alone, together, strict=True):
        assert (one.number, one.info) == (other.number, other.info)
        assert list(one.index.keys()) == list(other.index.keys())


def test_a_tar_is_looked_at_once(dataset):
    opener, plain = make(dataset)
    opener.open_many([0, 1], plain)
    for number in range(3):
        cut(dataset, number)
    opener.open_many([0, 1], plain)
    with pytest.raises(StaleIndexError):
        opener.open_many([0, 2], plain)
    with pytest.raises(StaleIndexError):
        opener.open_one(2, plain)
    opener.trust([2])
    assert opener.open_one(2, plain).number == 2


def test_tars_whose_payloads_are_verified_need_no_look(dataset):
    cut(dataset, 1)
    opener, plain = make(dataset, verify=True)
    assert opener.open_one(1, plain).number == 1


def test_an_index_that_is_missing_is_said_by_the_one_that_opens_it_alone(dataset, tmp_path):
    opener, plain = make(dataset)
    path = tmp_path / dataset.shard_list[1].index_path
    path.write_bytes(path.read_bytes()[:-1])
    assert opener.open_many([0, 1], plain) == []
    with pytest.raises(CorruptIndexError):
        opener.open_one(1, plain)

"""Many samples at once are the same as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.dataset import open_dataset
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.local import LocalStore
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed, shards_open, write

SAMPLES = numbered(60, size=500)
MAPPED = CacheLimits(map_after_reads=1)


@pytest.fixture(scope="module")
def files():
    return packed(SAMPLES, max_shard_samples=7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("many") / "ds", SAMPLES, max_shard_samples=7)


@given(st.lists(st.integers(0, 59), max_size=40), st.booleans(), st.integers(0, 3))
def test_the_same_as_one_by_one(folder, wanted, verify, warm):
    ds = open_dataset(LocalStore(folder), verify=verify, limits=CacheLimits(map_after_reads=2))
    for _ in range(warm):
        for position in wanted[::2]:
            ds[position]
    assert as_dicts(ds.get_many(wanted)) == expected(SAMPLES, wanted)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("per_shard", [60, 20, 3])
@pytest.mark.parametrize("count", [1, 15, 200])
def test_mapped_shards_give_the_same_as_one_by_one(tmp_path, width, per_shard, count):
    """Few shards or many, one sample of each or dozens: bounds are found one at a time, or together."""
    fields = ("bin", "json", "txt")[:width]
    samples = {f"{i:02d}": {field: f"{field}{i}".encode() * (i % 7) for field in fields} for i in range(60)}
    ds = open_dataset(LocalStore(write(tmp_path, samples, max_shard_samples=per_shard)), limits=MAPPED)
    for position in range(60):
        ds[position]
    assert all(shard.mapped is not None for shard in shards_open(ds))
    wanted = np.random.default_rng(per_shard).integers(60, size=count).tolist()
    found = ds.get_many(wanted)
    assert as_dicts(found) == expected(samples, wanted)
    assert [(sample.position, sample.key) for sample in found] == [(i, f"{i:02d}") for i in wanted]
    assert len(set(map(id, found))) == count, "no sample is returned twice"


def test_no_position_costs_nothing(files):
    store = CountingStore(files)
    ds = open_dataset(store)
    store.taken()
    assert ds.get_many([]) == ds.get_many([], fields=["json"]) == ds[5:5] == []
    assert store.taken() == []

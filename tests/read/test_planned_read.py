"""Samples read by plan: in few requests, all made at once, and in parts of limited size."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.dataset import open_dataset
from shardpack.errors import CorruptShardError
from shardpack.read.planned_read import PlannedReader
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed

SAMPLES = numbered(60, size=500)


@pytest.fixture(scope="module")
def files():
    return packed(SAMPLES, max_shard_samples=7)


def test_requests_of_all_shards_are_made_together(files):
    store = CountingStore(files, gap=1 << 20)
    store.remote = True
    calls = []
    usual = store.get_many
    store.get_many = lambda wanted: (calls.append([ranges.path for ranges in wanted]), usual(wanted))[1]
    ds = open_dataset(store)
    assert as_dicts(ds.get_many(range(59, -1, -1))) == expected(SAMPLES, range(59, -1, -1))
    assert [len(call) for call in calls] == [1, 9, 9], "the shard table, the indexes in one go, the shards in another"


def test_parts_hold_no_more_than_they_may(files):
    reader = PlannedReader(open_dataset(CountingStore(files)).stream_input().cache, None)
    positions = np.arange(60)
    parts = [list(part) for part in reader.parts(positions, max_bytes=4000)]
    assert as_dicts([sample for part in parts for sample in part]) == expected(SAMPLES)
    assert max(sum(len(p) for s in part for p in s.values()) for part in parts) <= 4000
    assert reader.read_small(positions, max_bytes=4000) is None
    assert as_dicts(reader.read_small(positions[:1], max_bytes=1) or []) == expected(SAMPLES, [0])


def test_an_error_comes_at_the_very_sample(files):
    ds = open_dataset(CountingStore(files))
    at = ds.locate(33)
    damaged = bytearray(files[at.shard])
    damaged[at.fields["bin"].offset] ^= 1
    shards = open_dataset(CountingStore({**files, at.shard: bytes(damaged)})).stream_input().cache
    seen = []
    with pytest.raises(CorruptShardError, match="field 'bin' is damaged"):  # noqa: PT012
        for part in PlannedReader(shards, None, neighbours=True).parts(np.arange(20, 40), max_bytes=1 << 20):
            for sample in part:
                seen.append(sample.position)  # noqa: PERF401 - what came before the error counts
    assert seen == list(range(20, 33))
    with pytest.raises(CorruptShardError):
        PlannedReader(shards, ("bin",)).read(np.array([33]))
    assert as_dicts(PlannedReader(shards, ("json",)).read(np.array([33])))[0][2] == {"json": SAMPLES["k/0033"]["json"]}

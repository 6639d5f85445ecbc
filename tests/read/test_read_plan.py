"""Plans of reads: every payload is where the plan says, in as few requests as the limits allow."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.dataset import open_dataset
from shardpack.read.read_plan import STREAM_LIMITS, plan_read
from shardpack.storage.coalesce import MergeLimits
from tests.read.datasets import CountingStore, collections, numbered, packed


@given(collections(), st.data())
def test_payloads_are_where_the_plan_says(samples, data):
    files = packed(samples)
    ds = open_dataset(CountingStore(files))
    shard = ds.stream_input().cache.get(0)
    tar = files[shard.path]
    rows = data.draw(st.lists(st.integers(0, len(samples) - 1), min_size=1, max_size=9))
    fields = data.draw(st.none() | st.sets(st.sampled_from(ds.fields)).map(lambda names: tuple(sorted(names))))
    plan = plan_read(shard, np.array(rows), fields)
    gap, most = data.draw(st.sampled_from([(0, 0), (600, 2000), (1 << 20, 1 << 20)]))
    requests = plan.requests(MergeLimits(gap, most))
    buffers = [tar[a : a + n] for a, n in zip(requests.ranges.starts, requests.ranges.lengths, strict=True)]
    found = [{} for _ in rows]
    for owner, field, buffer, begin, end in zip(
        plan.owner, plan.field, requests.owner, requests.begins, requests.begins + plan.sizes, strict=True
    ):
        found[owner][shard.fields[field]] = buffers[buffer][begin:end]
    values = list(samples.values())
    assert found == [{f: p for f, p in values[row].items() if fields is None or f in fields} for row in rows]
    assert plan.num_bytes == sum(len(payload) for sample in found for payload in sample.values())


def test_unwanted_fields_are_not_read_over():
    ds = open_dataset(CountingStore(packed(numbered(10, size=3000)), gap=1 << 20))
    shard = ds.stream_input().cache.get(0)
    rows = np.arange(10)
    whole, part = plan_read(shard, rows, None), plan_read(shard, rows, ("json",))
    assert len(whole.requests(whole.merge_limits(neighbours=False)).ranges.starts) == 1
    limits = part.merge_limits(neighbours=True)
    assert limits.max_gap_bytes < 1024
    assert len(part.requests(limits).ranges.starts) == 10
    assert whole.merge_limits(neighbours=True) is STREAM_LIMITS
    assert not plan_read(shard, rows, ("none",)).fields

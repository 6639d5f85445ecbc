"""Epochs: small batches first, and partitions that later world sizes want."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.stream.epochs import default_partitions, planned_numbers


@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 50), st.data())
def test_batches_are_the_numbers_in_order(items, first, most, data):
    rank_slice = RankSlice(Partitioning(items, 2, 4), 0, 1)
    begin = data.draw(st.integers(0, items))
    batches = list(planned_numbers(rank_slice, begin, None, first=first, most=most))
    assert np.concatenate([*batches, np.zeros(0, np.int64)]).tolist() == list(range(begin, items))
    assert all(len(batch) <= max(first, most) for batch in batches)
    if batches:
        assert len(batches[0]) <= first


@given(st.integers(0, 60), st.integers(0, 4), st.integers(1, 3))
def test_batches_of_steps(items, first, stride):
    rank_slice = RankSlice(Partitioning(items, 2, 4), 0, 1)
    steps = range(first, rank_slice.num_steps, stride)
    found = [n for batch in planned_numbers(rank_slice, 0, steps, first=1, most=8) for n in batch.tolist()]
    assert found == [n for step in steps for n in range(*rank_slice.step_bounds(step))]


def test_samples_as_stored_are_not_cut_into_more_parts_than_there_are_ranks():
    assert default_partitions(Shuffle("none"), 3, 30) == default_partitions(Shuffle("shards"), 3, None) == 3
    assert default_partitions(Shuffle("blocks"), 3, 30) == 45
    assert default_partitions(Shuffle("global"), 3, None) == 63

"""What is ordered: all positions, or those of a view, as runs within shards."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64

from shardpack.order.positions import compact
from shardpack.order.view import SampleView
from shardpack.order.visible import Visible

STARTS, BYTES = np.array([0, 4, 5, 9]), np.array([400, 90, 410])


def shard_columns():
    return STARTS, BYTES


def runs(view):
    segments = view.segments()
    return list(zip(segments.count.tolist(), segments.num_bytes.tolist(), strict=True))


def test_the_whole_dataset_has_one_segment_per_shard():
    view = SampleView(9, shard_columns)
    assert (len(view), view.digest, runs(view)) == (9, "", [(4, 400), (1, 90), (4, 410)])
    assert view.at(np.array([3, 0])).tolist() == [3, 0]


def test_an_edited_dataset_is_no_view_but_has_segments_like_one():
    view = SampleView(9, shard_columns, visible=Visible(9, np.array([1, 4, 5])))
    assert (len(view), view.digest, view.is_view) == (6, "", False)
    assert runs(view) == [(3, 300), (3, 306)]
    assert view.at(np.array([5, 0, 3])).tolist() == [8, 0, 6]


@given(st.one_of(st.lists(st.integers(0, 8), max_size=20), st.sets(st.integers(0, 8)).map(sorted)))
def test_runs_of_a_view_follow_one_another(positions):
    view = SampleView(9, shard_columns, compact(np.array(positions, np.int64)))
    assert len(view) == len(positions)
    assert sum(count for count, _ in runs(view)) == len(positions)
    at = 0
    for count, num_bytes in runs(view):
        shards = {int(np.searchsorted(STARTS, p, side="right")) - 1 for p in positions[at : at + count]}
        assert len(shards) == 1
        shard = shards.pop()
        assert num_bytes == count * (int(BYTES[shard]) // int(STARTS[shard + 1] - STARTS[shard]))
        at += count


def test_the_order_of_a_view_is_in_its_digest():
    a, b = (SampleView(9, shard_columns, compact(np.array(positions))) for positions in ([1, 2, 3], [1, 3, 2]))
    assert a.digest != b.digest
    assert a.digest == SampleView(9, shard_columns, compact(np.array([1, 2, 3]))).digest


@given(st.lists(st.integers(0, 300), max_size=99))
def test_the_digest_of_a_view_is_that_of_its_positions_as_a_list(positions):
    """However they are kept (SPEC 7.5)."""
    view = SampleView(301, shard_columns, compact(np.array(positions, np.int64)))
    assert view.digest == xxh3_64(np.array(positions, "<i8").tobytes()).hexdigest()

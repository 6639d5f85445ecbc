"""Windows: each is a permutation of its own slots, none crosses a partition, and each has its equal part of blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.partitions import Partitioning
from shardpack.order.windows import Windows


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.sampled_from([1, 2, 3, 8]),
    st.integers(1, 20),
    st.integers(0, 5),
)
def test_windows_permute_partitions_within_themselves(counts, partitions, window_blocks, epoch):
    ends = np.cumsum(counts)
    parts = Partitioning(int(ends[-1]), partitions, partitions)
    windows = Windows(ends, parts, window_blocks, 0, epoch)
    mixed = windows.mix(np.arange(parts.num_items))
    for p in range(partitions):
        span = range(parts.start(p), parts.start(p + 1))
        assert sorted(mixed[span.start : span.stop].tolist()) == list(span)


@pytest.mark.parametrize(("window_blocks", "partitions", "each"), [(8, 2, 4), (7, 2, 4), (1, 2, 1), (2, 4, 1)])
def test_each_partition_has_an_equal_part_of_the_window(window_blocks, partitions, each):
    ends = np.arange(1, 81) * 10  # 80 blocks of 10
    parts = Partitioning(800, partitions, partitions)
    windows = Windows(ends, parts, window_blocks, 0, 0)
    for p in range(partitions):
        start = np.array([parts.start(p)])
        begin, end = windows.blocks_wanted(np.array([p]), start)
        assert (begin[0], end[0]) == (parts.start(p) // 10, parts.start(p) // 10 + each)


def test_everything_is_held_if_one_window_holds_all_blocks():
    parts = Partitioning(100, 4, 4)
    for blocks, held in ((20, False), (12, True), (8, True)):
        ends = np.linspace(100 / blocks, 100, blocks).astype(np.int64)
        assert Windows(ends, parts, 9, 0, 0).hold_everything is held, "three blocks for each of four partitions"


def test_partitions_of_one_item_have_nothing_to_mix():
    windows = Windows(np.array([3]), Partitioning(3, 64, 64), 32, 0, 0)
    assert windows.mix(np.arange(3)).tolist() == [0, 1, 2]

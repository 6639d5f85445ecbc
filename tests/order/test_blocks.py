"""Blocks cover every item once and lie within their segment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.order.blocks import Segments, cut_blocks, whole_segments

segment_lists = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 5000)), max_size=8)


def segments_of(pairs):
    count, num_bytes = np.array(pairs, np.int64).reshape(-1, 2).T
    return Segments(count, num_bytes)


@given(segment_lists, st.one_of(st.integers(1, 9000), st.just(2**62)))
def test_blocks_cover_each_item_once_within_their_segment(pairs, block_bytes):
    blocks = cut_blocks(segments_of(pairs), block_bytes)
    ends = np.cumsum(blocks.count)
    assert (blocks.count >= 1).all()
    assert np.array_equal(blocks.first, ends - blocks.count), "one behind the other, in the order of the sequence"
    assert int(blocks.count.sum()) == segments_of(pairs).num_items == sum(count for count, _ in pairs)
    borders = np.cumsum([count for count, _ in pairs])
    assert set(borders.tolist()) <= set(ends.tolist()), "no block spans two segments"


@given(segment_lists, st.integers(1, 9000))
def test_blocks_of_a_segment_have_equal_sizes_near_block_bytes(pairs, block_bytes):
    counts = iter(cut_blocks(segments_of(pairs), block_bytes).count.tolist())
    for count, num_bytes in pairs:
        number = min(count, max(1, (num_bytes + block_bytes // 2) // block_bytes))
        mine = [next(counts) for _ in range(number)]
        assert sum(mine) == count
        assert max(mine) - min(mine) <= 1
    assert not list(counts)


@given(segment_lists)
def test_whole_segments(pairs):
    blocks = whole_segments(segments_of(pairs))
    assert blocks.count.tolist() == [count for count, _ in pairs]
    assert blocks.first.tolist() == [sum(count for count, _ in pairs[:i]) for i in range(len(pairs))]


def test_huge_sizes_in_a_manifest_allocate_no_memory():
    huge = Segments(np.array([2**62]), np.array([2**63 - 1]))
    with pytest.raises(OptionError, match="more than 67108864 blocks of 1024 bytes; choose larger blocks"):
        cut_blocks(huge, 1024)

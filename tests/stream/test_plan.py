"""Plans name what to read: every sample in one load, loads shared by chunks, nothing of another rank's blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.options import SHUFFLES, Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.view import SampleView
from shardpack.stream.plan import Planner, SharingCosts, _by_first_use

STARTS = np.array([0, 20, 27, 60])
VIEW = SampleView(60, lambda: (STARTS, np.array([2000, 700, 3300])))


def planned(mode, rank_slice, *, epochs=0, size=7, whole_blocks=None, block_bytes=300, window_blocks=4, costs=None):
    """Return the chunks of a rank, their loads, and the positions in their rows; -1 for samples read alone."""
    whole_blocks = mode == "blocks" if whole_blocks is None else whole_blocks
    shuffle = Shuffle(mode, 3, block_bytes, window_blocks)
    planner = Planner(VIEW, shuffle, rank_slice, whole_blocks=whole_blocks, costs=costs)
    partition, offset = rank_slice.locate(np.arange(len(rank_slice)))
    chunks = list(planner.chunks(epochs, partition, offset, size))
    loads = {name: planner.load(name) for chunk in chunks for name in dict.fromkeys(chunk.load_ids)}
    found = [
        [
            int(loads[chunk.load_ids[o]].positions[r]) if o >= 0 else -1
            for o, r in zip(chunk.owner, chunk.row, strict=True)
        ]
        for chunk in chunks
    ]
    return chunks, loads, found


@given(
    st.sampled_from(SHUFFLES), st.sampled_from([(0, 1), (0, 2), (1, 2), (3, 4)]),
    st.sampled_from(["pad", "drop", "exact"]), st.integers(1, 9), st.sampled_from([100, 300, 10_000]),
)  # fmt: skip
def test_rows_of_loads_are_the_samples(mode, place, tail, window_blocks, block_bytes):
    rank_slice = RankSlice(Partitioning(60, 8, 8, tail), *place)
    chunks, _, found = planned(mode, rank_slice, window_blocks=window_blocks, block_bytes=block_bytes)
    for chunk, positions in zip(chunks, found, strict=True):
        loose = [p for p, known in zip(chunk.positions.tolist(), positions, strict=True) if known < 0]
        assert len(loose) <= 1, "what a rank repeats of another's"
        assert all(a in {b, -1} for a, b in zip(positions, chunk.positions.tolist(), strict=True))
    assert sum(len(chunk.positions) for chunk in chunks) == len(rank_slice)


def test_blocks_are_named_once_and_others_are_read_as_asked():
    rank_slice = RankSlice(Partitioning(60, 2, 2), 0, 1)
    (chunk,), loads, _ = planned("blocks", rank_slice)
    assert len(chunk.load_ids) == len(set(chunk.load_ids)) == len(loads)
    assert sum(len(load.positions) for load in loads.values()) == 60
    chunks, _, _ = planned("global", rank_slice, size=25)
    assert [len(chunk.positions) for chunk in chunks] == [25, 25, 10]
    chunks, _, _ = planned("blocks", rank_slice, size=25, whole_blocks=False)
    assert [len(chunk.load_ids) for chunk in chunks] == [1, 1, 1]


def test_partitions_share_blocks_where_one_rank_holds_them_all():
    sizes = {}
    for world_size, window_blocks in ((1, 64), (1, 1), (2, 64)):
        rank_slice = RankSlice(Partitioning(60, 4, 4), 0, world_size)
        _, loads, _ = planned("blocks", rank_slice, window_blocks=window_blocks, block_bytes=1000)
        sizes[world_size, window_blocks] = len(loads)
    assert sizes[1, 64] == 6, "2 + 1 + 3 blocks"
    assert sizes[1, 1] > 6, "cut by four partitions"
    assert sizes[2, 64] > 3


@pytest.mark.parametrize(
    ("partitions", "world_size", "costs", "is_shared"),
    [
        (4, 1, SharingCosts(6000, 6000), True),
        (4, 1, SharingCosts(6000, 5999), False),  # they cannot be kept
        (16, 2, SharingCosts(6000, 6000, 750), True),  # 3000 bytes of the other rank's, for 4 requests less
        (16, 2, SharingCosts(6000, 6000, 749), False),
        (16, 16, SharingCosts(6000, 6000, 6000), False),  # each of them has a part of few blocks
    ],
)
def test_partitions_share_the_blocks_of_few_samples(partitions, world_size, costs, is_shared):
    rank_slice = RankSlice(Partitioning(60, partitions, partitions, "exact"), 0, world_size)
    chunks, loads, found = planned("blocks", rank_slice, window_blocks=1, block_bytes=1000, costs=costs)
    assert all(chunk.shares_blocks == is_shared for chunk in chunks)
    whole = {9, 10, 7, 11}  # samples of 100 bytes, in shards of 20, 7 and 33
    assert all(len(load.positions) in whole for load in loads.values()) == is_shared
    assert found == [chunk.positions.tolist() for chunk in chunks]
    wanted = {load_id for chunk in chunks for blocks in chunk.ahead for load_id in chunk.block_ids(blocks)}
    assert wanted >= loads.keys(), "what is ahead has the id under which it is taken"


def test_epochs_may_come_together():
    rank_slice = RankSlice(Partitioning(60, 2, 2), 0, 1)
    planner = Planner(VIEW, Shuffle("blocks", 0, 300, 4), rank_slice, whole_blocks=True)
    partition, offset = rank_slice.locate(np.arange(60))
    epochs = np.where(np.arange(60) < 30, 4, 5)
    (chunk,) = planner.chunks(epochs, partition, offset, 7)
    for at, epoch in ((slice(0, 30), 4), (slice(30, 60), 5)):
        (alone,) = planner.chunks(epoch, partition[at], offset[at], 7)
        assert chunk.positions[at].tolist() == alone.positions.tolist()
    for owner, row, position in itertools.islice(zip(chunk.owner, chunk.row, chunk.positions, strict=True), 60):
        assert planner.load(chunk.load_ids[owner]).positions[row] == position
    planner.forget(5)
    assert planner.load(chunk.load_ids[0]).positions.tolist(), "an order is worked out again if need be"


@pytest.mark.parametrize("mode", SHUFFLES)
def test_nothing_is_planned_for_nothing(mode):
    rank_slice = RankSlice(Partitioning(60, 2, 2), 0, 1)
    planner = Planner(VIEW, Shuffle(mode), rank_slice, whole_blocks=mode == "blocks")
    nothing = np.zeros(0, np.int64)
    (chunk,) = planner.chunks(0, nothing, nothing, 7)
    assert (len(chunk.positions), chunk.load_ids) == (0, [])


def test_blocks_are_numbered_by_their_first_use():
    first, number = _by_first_use(np.array([7, 3, 7, 9, 3]))
    assert (first.tolist(), number.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])

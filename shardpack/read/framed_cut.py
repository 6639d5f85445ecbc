"""Samples of a compressed shard, cut out of one frame after the other.

A frame is decompressed when its first sample is asked for, and is dropped after its last one: both are done in memory
that is still in the processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np

from shardpack.read.read_plan import ReadPlan
from shardpack.read.sample import Sample
from shardpack.read.shard_reader import cut_samples
from shardpack.runtime.arrays import Integers

MAX_FRAME_BYTES = 4 << 20  # a longer one is not held as a whole


def cut_framed(
    plan: ReadPlan, positions: Integers, *, max_frame_bytes: int = MAX_FRAME_BYTES
) -> Iterator[Sample] | None:
    """Return the samples of a plan, each cut when it is asked for; None if another way of reading them is better.

    That is so if the shard has no frames, if one is long or most are unwanted, if a sample extends over several, or if
    the samples are not stored in this order.

    Args:
        plan: Samples of one shard.
        positions: (n) Positions of the samples.
        max_frame_bytes: The longest frame that is decompressed as a whole.
    """
    shard, frames = plan.shard, plan.shard.index.frames
    if frames is None or not plan.fields or not shard.dense:
        return None
    bounds = np.empty((2 * len(plan.fields), len(positions)), np.int64)
    bounds[::2] = plan.starts.reshape(len(positions), -1).T
    bounds[1::2] = bounds[::2] + plan.sizes.reshape(len(positions), -1).T
    starts, ends = bounds.min(axis=0), bounds.max(axis=0)  # (n) of each sample
    if (starts[1:] < starts[:-1]).any():
        return None
    first, stop = frames.holding(int(starts[0]), int(starts[-1] - starts[0]) + 1)
    edges = frames.plain[first : stop + 1].view(np.int64)
    counts = np.diff(np.searchsorted(starts, edges))  # how many samples begin in each frame
    if counts.sum() < len(positions) or 2 * np.count_nonzero(counts) < len(counts):
        return None  # an empty payload at the very end; or gaps
    begins, lengths = np.repeat(edges[:-1], counts), np.diff(edges)
    if int(lengths.max()) > max_frame_bytes or (ends - begins > np.repeat(lengths, counts)).any():
        return None
    bounds -= begins
    shard.store.stats.add_used(plan.num_bytes)
    parts = shard.store.each_part(shard.path, edges.tolist())
    return cut_samples(
        plan.fields,
        chain.from_iterable(map(repeat, parts, counts.tolist())),
        [memoryview(row) for row in bounds],  # numbers made one by one stay in the caches, lists of them do not
        memoryview(positions),
        repeat(shard.keys, len(positions)),
    )

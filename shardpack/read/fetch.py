"""Samples at many positions, over all shards: what `get_many` and the stream stand on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.read.gather import gather
from shardpack.read.sample import Sample
from shardpack.read.shards import Shards


def fetch(
    shards: Shards, positions: npt.NDArray[np.int64], fields: tuple[str, ...] | None, *, streaming: bool = False
) -> list[Sample]:
    """Return the samples at `positions`, in that order; reads are sorted and merged within a shard.

    Args:
        shards: Where they are.
        positions: In the whole dataset; repeats are fine.
        fields: Read only these; all of them by default.
        streaming: The positions are neighbours: read them in long ranges.
    """
    samples = [Sample() for _ in range(len(positions))]
    order = np.argsort(positions, kind="stable")
    ascending = positions[order]
    placed = [samples[i] for i in order.tolist()]
    for sample, position in zip(placed, ascending.tolist(), strict=True):
        sample.position, sample._key = position, shards  # not the shard: a kept sample must not hold it open
    for number, begin, end in shards.runs(ascending):
        shard = shards.get(number)
        part = placed[begin:end]
        gather(shard, ascending[begin:end] - shard.first, part, fields, verify=shards.verify, streaming=streaming)
        if not (shards.verify or streaming):
            shard.count_read(len(part))
    return samples

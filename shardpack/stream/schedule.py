"""In which order a reader works: the loads of each chunk before the chunk, and what later chunks need ahead of time.

    remote (loads are read ahead)    load load CHUNK  load load load CHUNK ...
    local (the kernel reads ahead)   load load CHUNK  hint hint load CHUNK ...

A load that several chunks need comes once, before the first of them. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.runtime.arrays import Integers
from shardpack.stream.plan import NO_BLOCK, Chunk, Load, LoadId, Planner, WantedBlocks


@dataclass(frozen=True, slots=True, eq=False)
class Hint:
    """Samples that a local store should prefetch."""

    positions: Integers


@dataclass(frozen=True, slots=True, eq=False)
class OpenShards:
    """Positions of blocks whose shards will be needed, so that their indexes are fetched together."""

    positions: Integers


ReaderTask = Load | Chunk | Hint | OpenShards


class TaskOrder:
    """The tasks of one pass over chunks, in order. Not thread-safe.

    Args:
        planner: Makes the loads of the chunks.
        reads_ahead: Whether loads are read before their chunk is asked for; else the store gets hints.
    """

    def __init__(self, planner: Planner, *, reads_ahead: bool) -> None:
        self._planner, self._reads_ahead = planner, reads_ahead
        self._started: set[LoadId] = set()  # loads that later chunks may need again
        self._hinted: set[LoadId] = set()  # the same of hints; only for blocks that partitions share
        self._planned: dict[LoadId, Load] = {}  # made for a hint, and not scheduled yet
        self._reached: dict[int, WantedBlocks] = {}  # by partition: the blocks that were ahead last

    def tasks(self, chunks: Iterable[Chunk]) -> Iterator[ReaderTask]:
        """Yield the loads of each chunk, the chunk, and what should be in progress when it is handed out."""
        for number, chunk in enumerate(chunks):
            self._started = {load_id for load_id in self._started if not load_id.is_before(chunk.begin)}
            ahead = self._newly_ahead(chunk) if number else []  # the first samples do not wait for later ones
            if not self._reads_ahead:
                yield from self._hints(chunk, ahead)
            yield from self._loads(chunk.load_ids)
            yield chunk
            if self._reads_ahead:
                if not number and chunk.ahead:
                    yield self._open_shards(chunk)
                yield from self._loads(ahead)

    def _loads(self, load_ids: Iterable[LoadId]) -> Iterator[Load]:
        """Yield those of some loads that have not begun yet."""
        for load_id in load_ids:
            if load_id in self._started:
                continue
            if load_id.is_block:
                self._started.add(load_id)
            planned = self._planned.pop(load_id, None)
            yield self._planner.load(load_id) if planned is None else planned

    def _newly_ahead(self, chunk: Chunk) -> list[LoadId]:
        """Return the blocks ahead of a chunk that were not ahead of an earlier one."""
        found = []
        for wanted in chunk.ahead:
            reached = self._reached.get(wanted.partition)
            begin = wanted.begin
            if reached is not None and reached.epoch == wanted.epoch:
                begin = max(begin, reached.end)
            if begin < wanted.end:
                self._reached[wanted.partition] = wanted
                found += chunk.block_ids(wanted._replace(begin=begin))
        return found

    def _hints(self, chunk: Chunk, ahead: list[LoadId]) -> Iterator[Hint]:
        """Yield hints; a load made for a hint is scheduled later."""
        self._hinted = {
            load_id for load_id in self._hinted if load_id.epoch >= chunk.begin.get(load_id.partition, NO_BLOCK).epoch
        }
        for load_id in dict.fromkeys(ahead):
            if load_id not in self._hinted:
                load = self._planner.load(load_id)
                if load_id not in self._started:
                    self._planned[load_id] = load
                yield Hint(load.positions)
        if chunk.shares_blocks:  # other blocks are needed by a single partition, and come up once
            self._hinted.update(ahead)

    def _open_shards(self, chunk: Chunk) -> OpenShards:
        load_ids = [load_id for wanted in chunk.ahead for load_id in chunk.block_ids(wanted)]
        return OpenShards(np.array([self._planner.load(load_id).positions[0] for load_id in load_ids], np.int64))

"""The epochs of one dataset or view: what a stream iterates over, unless it is a mix.

numbers of a rank's samples --rank slice--> (partition, offset) --`Planner`--> chunks --`Reader`--> samples
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice, elastic_partitions
from shardpack.read.read_plan import STREAM_LIMITS
from shardpack.read.shard_reader import LARGE_SAMPLE_BYTES
from shardpack.runtime.arrays import Integers
from shardpack.stream.plan import Costs, Planner
from shardpack.stream.reader import CHUNK_BYTES, RUN_BYTES, Parts, Reader, ReadLimits
from shardpack.stream.source import Source

MAX_SHARED_BYTES = 64 << 20  # of samples that are few enough to be kept for an epoch


class Epochs(Protocol):
    """What a stream iterates over: datasets, and how their samples are ordered."""

    @property
    def shuffle(self) -> Shuffle:
        """How each epoch is shuffled."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that samples may have, sorted."""
        ...

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        """Return what a rank gets of an epoch.

        Raises:
            OptionError: These do not fit together.
        """
        ...

    def with_window(self, window_blocks: int) -> Epochs:
        """Return the same, shuffled in windows of so many blocks."""
        ...

    def parts(self, epoch: int, rank_slice: RankSlice, batches: Batches, *, stride: int, views: bool = False) -> Parts:
        """Yield the samples of one epoch whose numbers in the rank's slice come in batches.

        With `views`, payloads that are in a map are views of it.
        """
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return what a state says of the datasets (SPEC 7.5)."""
        ...

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        """Return how many partitions an epoch has if nobody says."""
        ...


class Batches:
    """The numbers of samples in batches that are planned together: small ones first, for the first samples' sake."""

    def __init__(self, rank_slice: RankSlice, begin: int, steps: range | None = None) -> None:
        """Take those from number `begin` on; with `steps` those of some steps only, numbered among themselves."""
        self._slice, self._begin, self._steps = rank_slice, begin, steps
        self._end = len(rank_slice) if steps is None else rank_slice.samples_of(steps)

    def numbers(self, first: int, most: int) -> Iterator[Integers]:
        """Yield `first` numbers, then four times as many each time, up to `most`."""
        begin, count = self._begin, first
        while begin < self._end:
            numbers = np.arange(begin, min(begin + count, self._end))
            yield numbers if self._steps is None else self._slice.numbers_of(self._steps, numbers)
            begin += count
            count = min(4 * count, most)


class DatasetEpochs:
    """The epochs of a dataset or view.

    Attributes:
        source: Its samples.
        shuffle: How they are shuffled.
        limits: What reading may hold.
    """

    def __init__(self, source: Source, shuffle: Shuffle, limits: ReadLimits | None = None) -> None:
        self.source, self.shuffle = source, shuffle
        self.limits = limits or ReadLimits()

    @property
    def fields(self) -> tuple[str, ...]:
        """See `Epochs.fields`."""
        return self.source.names

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        """See `Epochs.slice_of`."""
        return RankSlice(Partitioning(len(self.source.view), partitions, global_batch, tail), rank, world_size)

    def with_window(self, window_blocks: int) -> DatasetEpochs:
        """See `Epochs.with_window`."""
        return DatasetEpochs(self.source, replace(self.shuffle, window_blocks=window_blocks), self.limits)

    def identity(self) -> dict[str, Any]:
        """See `Epochs.identity`."""
        source = self.source
        return {"fingerprint": source.fingerprint, "generation": source.generation, "view": source.view.digest}

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        """See `Epochs.default_partitions`."""
        return default_partitions(self.shuffle, world_size, batch_size)

    def parts(self, epoch: int, rank_slice: RankSlice, batches: Batches, *, stride: int, views: bool = False) -> Parts:
        """See `Epochs.parts`."""
        limits = replace(self.limits, views=views)
        reading = EpochReading(self.source, self.shuffle, rank_slice, limits, stride=stride)
        first, most = reading.batch_samples()
        slots = (rank_slice.locate(numbers) for numbers in batches.numbers(first, most))
        return reading.parts((epoch, partition, offset) for partition, offset in slots)


def default_partitions(shuffle: Shuffle, world_size: int, batch_size: int | None) -> int:
    """Return as many partitions as world sizes may want later; one a rank where samples shall come as stored."""
    return world_size if is_sequential(shuffle) else elastic_partitions(world_size, batch_size)


def is_sequential(shuffle: Shuffle) -> bool:
    """Return whether neighbours in the order mostly lie behind one another."""
    return shuffle.mode in {"none", "shards"}


class EpochReading:
    """How the epochs of one dataset are read: in which amounts, and how far ahead."""

    def __init__(
        self, source: Source, shuffle: Shuffle, rank_slice: RankSlice, limits: ReadLimits, *, stride: int
    ) -> None:
        self._source, self._shuffle = source, shuffle
        self._whole_blocks = self._takes_whole_blocks(stride)
        # Two epochs may be under way. What is local is cheap to read twice.
        shared_bytes = min(MAX_SHARED_BYTES, limits.memory_bytes // 2) if source.is_remote else 0
        costs = Costs(len(source.view) * source.mean_bytes, shared_bytes, STREAM_LIMITS.max_gap_bytes)
        self.planner = Planner(source.view, shuffle, rank_slice, whole_blocks=self._whole_blocks, costs=costs)
        self._chunk_samples = self._samples_of_a_chunk(limits)
        self._limits = replace(
            limits,
            load_bytes=shuffle.block_bytes if self._whole_blocks else CHUNK_BYTES,
            depth=2 * source.prefetch_depth,  # a chunk for each load
            threads=min(limits.threads, max(1, source.prefetch_depth)),
            part_samples=self._chunk_samples,
        )

    def batch_samples(self) -> tuple[int, int]:
        """Return how many samples to plan at first, and at most."""
        size = self._chunk_samples
        most = max(size, min(8 * size, self._limits.planned_samples))
        return 1 if self._whole_blocks or self._source.is_remote else size, most

    def parts(self, slots: Iterable[tuple[Integers | int, Integers, Integers]]) -> Parts:
        """Yield the samples at (epoch, partition, offset)s."""
        planner, size = self.planner, self._chunk_samples
        chunks = (chunk for batch in slots for chunk in planner.chunks(*batch, size))
        return Reader(self._source, planner, self._limits, neighbours=is_sequential(self._shuffle)).parts(chunks)

    def _takes_whole_blocks(self, stride: int) -> bool:
        """Return whether to take blocks whole, rather than the samples of a chunk where they are.

        Of several workers each takes a part of every block: from a remote store they ask for large
        samples one by one.
        """
        if self._shuffle.mode != "blocks":
            return False
        return stride == 1 or self._source.mean_bytes <= LARGE_SAMPLE_BYTES or not self._source.is_remote

    def _samples_of_a_chunk(self, limits: ReadLimits) -> int:
        mean, is_local = self._source.mean_bytes, not self._source.is_remote
        if mean > LARGE_SAMPLE_BYTES and is_local:
            return max(1, 2 * CHUNK_BYTES // mean)  # no more than planned together, where they are in memory
        return min(
            max(1, (RUN_BYTES if is_sequential(self._shuffle) and is_local else CHUNK_BYTES) // mean),
            limits.part_samples,
        )

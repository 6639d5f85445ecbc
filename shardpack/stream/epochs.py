"""The epochs of one dataset or view: what a stream iterates over, unless it is a mix.

numbers of a rank's samples --rank slice--> (partition, offset) --`Planner`--> chunks --`Reader`--> samples
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from shardpack.order.drawn import DrawnOrders
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice, elastic_partitions
from shardpack.read.read_plan import STREAM_LIMITS
from shardpack.read.shard_reader import LARGE_SAMPLE_BYTES
from shardpack.runtime.arrays import Integers
from shardpack.stream.draws import Draws
from shardpack.stream.limits import CHUNK_BYTES, ReaderSetup, ReadLimits
from shardpack.stream.mapped_steps import MappedStep, mapped_steps
from shardpack.stream.plan import Planner, SharingCosts
from shardpack.stream.reader import Reader, SampleParts
from shardpack.stream.stream_input import Placed, StreamInput

MAX_SHARED_BYTES = 64 << 20  # a dataset up to this may be kept in memory for an epoch


class Epochs(Protocol):
    """What a stream iterates over: one dataset or several, in an order."""

    @property
    def shuffle(self) -> Shuffle:
        """How each epoch is shuffled."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that samples may have, sorted."""
        ...

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        """Return a rank's share of an epoch.

        Raises:
            OptionError: The arguments contradict each other.
        """
        ...

    def with_window(self, window_blocks: int) -> Epochs:
        """Return the same epochs, shuffled in windows of this many blocks."""
        ...

    def parts(
        self, epoch: int, rank_slice: RankSlice, begin: int, steps: range | None, *, views: bool = False
    ) -> SampleParts:
        """Yield a rank's samples of one epoch from number `begin` on.

        With `steps`, yield the samples of these steps only; `begin` then counts samples of the steps.
        With `views`, payloads in a map are views of it instead of bytes.
        """
        ...

    def mapped_steps(self, epoch: int, rank_slice: RankSlice, first: int) -> Iterator[MappedStep]:
        """Yield a rank's steps from number `first` on as places in mapped shards, as far as that is possible."""
        ...

    def placed(self, epoch: int, rank_slice: RankSlice, begin: int) -> Placed:
        """Return where a rank's samples of one epoch are stored, from number `begin` on. Reads none of them."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """Return the entries of a state that identify the datasets (SPEC 7.5)."""
        ...

    def own_entries(self) -> Mapping[str, Any]:
        """Return the entries that a state has beside those of SPEC 7.5."""
        ...

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        """Raise OptionError if these entries of a state, all of `own_entries`, are not of the same order."""
        ...

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        """Return the number of partitions of an epoch if the caller chooses none."""
        ...


def planned_numbers(
    rank_slice: RankSlice, begin: int, steps: range | None, *, first: int, most: int
) -> Iterator[Integers]:
    """Yield a rank's sample numbers in groups planned together: `first`, then four times as many, up to `most`.

    The first groups are small so that the first sample comes soon.

    Args:
        rank_slice: The rank's share of the epoch.
        begin: Number of the first sample.
        steps: Only the samples of these steps, which `begin` then counts; None for all.
        first: Length of the first group.
        most: Maximum length of a group.
    """
    end, count = len(rank_slice) if steps is None else rank_slice.samples_of(steps), first
    while begin < end:
        numbers = np.arange(begin, min(begin + count, end))
        yield numbers if steps is None else rank_slice.numbers_of(steps, numbers)
        begin += count
        count = min(4 * count, most)


class DatasetEpochs:
    """The epochs of a dataset or view.

    Attributes:
        stream_input: The samples.
        shuffle: How they are shuffled.
        limits: The limits of reading.
        draws: What is drawn from the samples, and how often; None if each comes once.
    """

    def __init__(
        self, stream_input: StreamInput, shuffle: Shuffle, limits: ReadLimits | None = None, draws: Draws | None = None
    ) -> None:
        self.stream_input, self.shuffle, self.draws = stream_input, shuffle, draws
        self.limits = limits or ReadLimits()

    @property
    def num_items(self) -> int:
        """Samples of an epoch, over all ranks."""
        return len(self.stream_input.view) if self.draws is None else self.draws.orders.num_slots

    @property
    def fields(self) -> tuple[str, ...]:
        return self.stream_input.fields

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        return RankSlice(Partitioning(self.num_items, partitions, global_batch, tail), rank, world_size)

    def with_window(self, window_blocks: int) -> DatasetEpochs:
        shuffle = replace(self.shuffle, window_blocks=window_blocks)
        return DatasetEpochs(self.stream_input, shuffle, self.limits, self.draws)

    def identity(self) -> dict[str, Any]:
        return self.stream_input.identity

    def own_entries(self) -> dict[str, Any]:
        return {} if self.draws is None else self.draws.entries()

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        if self.draws is not None:
            self.draws.check_entries(entries)

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        return default_partitions(self.shuffle, world_size, batch_size)

    def parts(
        self, epoch: int, rank_slice: RankSlice, begin: int, steps: range | None, *, views: bool = False
    ) -> SampleParts:
        is_shared = steps is not None and steps.step > 1
        reader = EpochReader(
            self.stream_input, self.shuffle, rank_slice, self.limits,
            is_shared=is_shared, views=views, draws=None if self.draws is None else self.draws.orders,
        )  # fmt: skip
        first, most = reader.group_samples()
        slots = map(rank_slice.locate, planned_numbers(rank_slice, begin, steps, first=first, most=most))
        return reader.parts((epoch, partition, offset) for partition, offset in slots)

    def mapped_steps(self, epoch: int, rank_slice: RankSlice, first: int) -> Iterator[MappedStep]:
        size = rank_slice.batch_size
        most = size * max(1, self.limits.part_samples // size)
        groups = planned_numbers(rank_slice, first * size, None, first=size, most=most)
        planner = self._planner(rank_slice)
        positions = (planner.positions(epoch, *rank_slice.locate(numbers)) for numbers in groups)
        return mapped_steps(self.stream_input, positions, size)

    def placed(self, epoch: int, rank_slice: RankSlice, begin: int) -> Placed:
        positions = self._planner(rank_slice).positions(epoch, *rank_slice.locate(np.arange(begin, len(rank_slice))))
        return Placed((self.stream_input,), np.zeros_like(positions), positions)

    def _planner(self, rank_slice: RankSlice) -> Planner:
        draws = None if self.draws is None else self.draws.orders
        return Planner(self.stream_input.view, self.shuffle, rank_slice, whole_blocks=False, draws=draws)


def default_partitions(shuffle: Shuffle, world_size: int, batch_size: int | None) -> int:
    """Return as many partitions as later world sizes may need; one per rank if samples come as stored."""
    return world_size if shuffle.is_sequential else elastic_partitions(world_size, batch_size)


class EpochReader:
    """How the epochs of one dataset are read: in which amounts, and how far ahead.

    Attributes:
        planner: Makes the chunks.
    """

    def __init__(
        self,
        stream_input: StreamInput,
        shuffle: Shuffle,
        rank_slice: RankSlice,
        limits: ReadLimits,
        *,
        is_shared: bool,
        views: bool = False,
        draws: DrawnOrders | None = None,
    ) -> None:
        """Decide how to read.

        Args:
            stream_input: The samples.
            shuffle: How they are shuffled.
            rank_slice: The rank's share of an epoch.
            limits: The limits of reading.
            is_shared: Whether other workers take part of every block.
            views: Whether payloads in a map are views of it instead of bytes.
            draws: The orders to read in place of shuffled ones.
        """
        self._input, self._shuffle = stream_input, shuffle
        self._whole_blocks = self._takes_whole_blocks(is_shared=is_shared)
        # Half of the memory, as two epochs may be in progress. Local blocks are cheap to read twice.
        shared_bytes = min(MAX_SHARED_BYTES, limits.memory_bytes // 2) if stream_input.is_remote else 0
        costs = SharingCosts(
            len(stream_input.view) * stream_input.mean_bytes, shared_bytes, STREAM_LIMITS.max_gap_bytes
        )
        self.planner = Planner(
            stream_input.view, shuffle, rank_slice, whole_blocks=self._whole_blocks, costs=costs, draws=draws
        )
        self._chunk_samples = self._samples_of_a_chunk(limits)
        self._planned_samples = limits.planned_samples
        self._setup = ReaderSetup(
            memory_bytes=limits.memory_bytes,
            load_bytes=int(shuffle.block_bytes * stream_input.expansion) if self._whole_blocks else CHUNK_BYTES,
            depth=2 * stream_input.prefetch_depth,  # a chunk for each load
            threads=min(limits.threads, max(1, stream_input.prefetch_depth)),
            part_samples=self._chunk_samples,
            neighbours=shuffle.is_sequential,
            views=views,
        )

    def group_samples(self) -> tuple[int, int]:
        """Return the first and the maximum length of `planned_numbers`."""
        size = self._chunk_samples
        most = max(size, min(8 * size, self._planned_samples))
        return 1 if self._whole_blocks or self._input.is_remote else size, most

    def parts(self, slots: Iterable[tuple[Integers | int, Integers, Integers]]) -> SampleParts:
        """Yield the samples at these slots, given as groups of (epoch, partition, offset)."""
        planner, size = self.planner, self._chunk_samples
        chunks = (chunk for group in slots for chunk in planner.chunks(*group, size))
        return Reader(self._input, planner, self._setup).parts(chunks)

    def _takes_whole_blocks(self, *, is_shared: bool) -> bool:
        """Return whether to read whole blocks, rather than the samples of a chunk alone.

        Several workers need a part of every block each: from a remote store they read large samples one by one.
        """
        if self._shuffle.mode != "blocks":
            return False
        return not is_shared or self._input.mean_bytes <= LARGE_SAMPLE_BYTES or not self._input.is_remote

    def _samples_of_a_chunk(self, limits: ReadLimits) -> int:
        mean = self._input.mean_bytes
        if mean > LARGE_SAMPLE_BYTES and not self._input.is_remote:
            return max(1, 2 * CHUNK_BYTES // mean)  # as many as are planned together: they are in memory
        if self._input.is_cut_from_frames and self._shuffle.is_sequential:
            return limits.planned_samples  # only the frame of one of them is in memory
        return min(max(1, CHUNK_BYTES // mean), limits.part_samples)

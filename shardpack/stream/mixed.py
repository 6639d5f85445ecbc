"""`mix`: several datasets as one stream, in fixed proportions, elastic and resumable like any stream.

    numbers of a rank's samples --rank slice--> (partition, n) --schedule--> (dataset, number within it)
      --its epochs, one reader each--> samples, taken from the readers in the schedule's order

A partition of the mix has samples of the same partition of every dataset. So each rank reads blocks that no other
rank reads, and the global batches do not depend on the world size. The arithmetic is in `order/mixture.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain, tee
from typing import Any, NamedTuple

import numpy as np

from shardpack.errors import OptionError
from shardpack.format.stream_state import check_same_datasets, shown
from shardpack.order.mixture import LONGEST, ONE, Schedule, check_mix_length, length_until, shares
from shardpack.order.options import DEFAULT_BLOCK_BYTES, Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.permutation import MIX_SEED, derive_key
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.arrays import Integers
from shardpack.stream.epochs import (
    EpochReader,
    default_partitions,
    planned_numbers,
)
from shardpack.stream.limits import CHUNK_BYTES, DEFAULT_MEMORY_BYTES, ReadLimits
from shardpack.stream.mapped_steps import MappedStep
from shardpack.stream.options import StreamOptions
from shardpack.stream.plan import Planner
from shardpack.stream.reader import SampleParts
from shardpack.stream.stream import Stream
from shardpack.stream.stream_input import Placed, Streamable, StreamInput

STOPS = ("first", "all")
SAMPLES_PER_PARTITION = 64  # of the smallest dataset, at least, unless the caller chooses the partitions


class _Scheduled(NamedTuple):
    """The next n samples of a mix.

    Attributes:
        source: (n) dataset of each.
        partition, number: (n) its partition, and its number in that partition of the dataset, over all epochs.
        repeat: (n) a number for each time that a sample comes.
    """

    source: Integers
    partition: Integers
    number: Integers
    repeat: Integers


@dataclass(frozen=True, slots=True, eq=False)
class MixPart:
    """One dataset of a mix.

    Attributes:
        stream_input: The samples of the dataset.
        weight: Its share of the mix, in units of 2^-32.
    """

    stream_input: StreamInput
    weight: int


@dataclass(frozen=True, eq=False)
class MixedEpochs:
    """The `Epochs` of several datasets.

    Attributes:
        datasets: The datasets.
        shuffle: How each dataset is shuffled; each has a seed of its own, derived from this one.
        stop: The rule that ends an epoch.
        limits: The limits of all readers together.
    """

    datasets: tuple[MixPart, ...]
    shuffle: Shuffle
    stop: str | int
    limits: ReadLimits

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields of any dataset, sorted."""
        return tuple(sorted({name for part in self.datasets for name in part.stream_input.fields}))

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        if tail == "exact":
            raise OptionError("a mix has no exact tail; choose tail='pad' or 'drop', or stream the datasets one by one")
        Partitioning(1, partitions, global_batch, tail)  # raises OptionError for these numbers first
        for number, part in enumerate(self.datasets):
            if not len(part.stream_input.view):
                raise OptionError(f"dataset {number} has 0 samples; leave it out")
        if isinstance(self.stop, int):
            total = self.stop
        else:
            total = length_until(self._schedule(partitions), self.stop, self._lengths(partitions)) * partitions
        return RankSlice(Partitioning(total, partitions, global_batch, tail), rank, world_size)

    def with_window(self, window_blocks: int) -> MixedEpochs:
        return replace(self, shuffle=replace(self.shuffle, window_blocks=window_blocks))

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        """See `Epochs.default_partitions`; fewer for small datasets, as partitions end at different samples."""
        partitions = default_partitions(self.shuffle, world_size, batch_size)
        fewest = min(len(part.stream_input.view) for part in self.datasets)
        while partitions > world_size and partitions * SAMPLES_PER_PARTITION > fewest:
            partitions = max(d for d in range(world_size, partitions, world_size) if partitions % d == 0)
        return partitions

    def identity(self) -> dict[str, Any]:
        """Return what the state of a mix has in place of one dataset; see `identities` for the datasets."""
        return {"fingerprint": "mix", "generation": 0, "view": ""}

    def identities(self) -> list[dict[str, Any]]:
        """Return the entries of a state that identify each dataset."""
        return [{**part.stream_input.identity, "weight": part.weight} for part in self.datasets]

    def own_entries(self) -> dict[str, Any]:
        return {"datasets": self.identities(), "stop": self.stop}

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        check_same_datasets(entries["datasets"], self.identities())
        if type(entries["stop"]) is not type(self.stop) or entries["stop"] != self.stop:
            raise OptionError(
                f"state is of a mix that stops at {shown(entries['stop'])}, this one stops at {shown(self.stop)}; "
                "mix with the same stop, or start the epoch again"
            )

    def counts(self, epoch: int, partitioning: Partitioning) -> tuple[int, ...]:
        """Return how many samples of each dataset an epoch has, over all ranks."""
        schedule, lengths = self._schedule(partitioning.partitions), partitioning.lengths()
        begin = self._first_offsets(epoch, partitioning)
        counts = schedule.counts(begin + lengths) - schedule.counts(begin)
        return tuple(counts.sum(axis=0).tolist())

    def parts(
        self, epoch: int, rank_slice: RankSlice, begin: int, steps: range | None, *, views: bool = False
    ) -> SampleParts:
        is_shared = steps is not None and steps.step > 1
        readers = [
            self._reader(number, rank_slice, is_shared=is_shared, views=views) for number in range(len(self.datasets))
        ]
        first, most = min(reader.group_samples()[0] for reader in readers), self._chunk_samples()
        groups = planned_numbers(rank_slice, begin, steps, first=first, most=most)
        scheduled = tee(self._scheduled(epoch, rank_slice, groups), len(readers) + 1)
        rounds = self._rounds(epoch, rank_slice.partitioning)
        with ExitStack() as stack:
            samples = []
            for number, (reader, own) in enumerate(zip(readers, scheduled[1:], strict=True)):
                slots = self._slots(number, own, rounds[number], reader.planner)
                samples.append(chain.from_iterable(stack.enter_context(closing(reader.parts(slots)))))
            for some in scheduled[0]:
                yield _interleaved(samples, some.source.tolist(), some.repeat.tolist())

    def mapped_steps(self, epoch: int, rank_slice: RankSlice, first: int) -> Iterator[MappedStep]:  # noqa: ARG002
        return iter(())  # the datasets may hold arrays of other shapes

    def placed(self, epoch: int, rank_slice: RankSlice, begin: int) -> Placed:
        (scheduled,) = self._scheduled(epoch, rank_slice, [np.arange(begin, len(rank_slice))])
        sources, positions = scheduled.source, np.empty_like(scheduled.source)
        for number, first_epoch in enumerate(self._rounds(epoch, rank_slice.partitioning)):
            planner = self._reader(number, rank_slice, is_shared=False, views=False).planner
            (slots,) = self._slots(number, [scheduled], first_epoch, planner)
            positions[sources == number] = planner.positions(*slots)
        return Placed(tuple(part.stream_input for part in self.datasets), sources, positions)

    def _reader(self, number: int, rank_slice: RankSlice, *, is_shared: bool, views: bool) -> EpochReader:
        part, partitioning = self.datasets[number], rank_slice.partitioning
        seed = derive_key(MIX_SEED, self.shuffle.seed, number)
        num_samples, count = len(part.stream_input.view), len(self.datasets)
        own = Partitioning(num_samples, partitioning.partitions, partitioning.global_batch, "exact")
        limits = replace(
            self.limits,
            memory_bytes=max(1, self.limits.memory_bytes // count),
            threads=max(2, self.limits.threads // count),
        )
        shuffle = replace(self.shuffle, seed=seed)
        own_slice = replace(rank_slice, partitioning=own)
        return EpochReader(part.stream_input, shuffle, own_slice, limits, is_shared=is_shared, views=views)

    def _scheduled(self, epoch: int, rank_slice: RankSlice, groups: Iterable[Integers]) -> Iterator[_Scheduled]:
        """Yield which sample of which dataset comes next, for each group of numbers of a rank's samples."""
        partitioning, count = rank_slice.partitioning, rank_slice.partitioning.partitions
        schedule, base, lengths = self._schedule(count), self._first_offsets(epoch, partitioning), self._lengths(count)
        first_rounds = (schedule.counts(base) // lengths).min(axis=0)  # (k)
        views = [part.stream_input.view for part in self.datasets]
        most_times = np.array([view.most_times for view in views])  # (k)
        is_borrowed = np.array([len(view) < count for view in views])  # (k) whether partitions share samples
        for numbers in groups:
            partition, offset = rank_slice.locate(numbers)
            source, number = schedule.items(partition, base[partition] + offset)
            rounds = number // lengths[partition, source] - first_rounds[source]
            repeats = np.where(is_borrowed[source], rounds * count + partition, rounds)
            yield _Scheduled(source, partition, number, repeats * most_times[source])

    def _slots(
        self,
        source: int,
        scheduled: Iterable[_Scheduled],
        first_epoch: int,
        planner: Planner,
    ) -> Iterator[tuple[Integers, Integers, Integers]]:
        """Yield (epoch, partition, offset), (n) each, of one dataset's samples; an empty partition borrows one."""
        parts = planner.partitioning
        lengths = np.maximum(1, parts.lengths())
        for some in scheduled:
            at = np.flatnonzero(some.source == source)
            partition, number = some.partition[at], some.number[at]
            epoch, offset = np.divmod(number, lengths[partition])
            epoch += first_epoch
            if parts.shortest == 0:
                empty = np.flatnonzero(partition < parts.partitions - parts.longer)
                for i in empty.tolist():
                    partition[i], offset[i] = parts.locate(int(partition[i]) % parts.num_items)
            if len(epoch):
                planner.forget(int(epoch.min()))
            yield epoch, partition, offset

    def _schedule(self, partitions: int) -> Schedule:
        return Schedule([part.weight for part in self.datasets], seed=self.shuffle.seed, partitions=partitions)

    def _lengths(self, partitions: int) -> Integers:
        """Return (p, k): how many samples each partition has in an epoch of each dataset."""
        totals = [len(part.stream_input.view) for part in self.datasets]
        lengths = [Partitioning(total, partitions, partitions, "exact").lengths() for total in totals]
        return np.maximum(1, np.stack(lengths, axis=1))

    def _first_offsets(self, epoch: int, partitioning: Partitioning) -> Integers:
        """Return (p): where an epoch begins in the endless sequence of each partition; 0 unless `stop` is a number."""
        longest = partitioning.shortest + (partitioning.longer > 0)
        if not isinstance(self.stop, int):
            return np.zeros(partitioning.partitions, np.int64)
        check_mix_length((epoch + 1) * longest)
        return epoch * partitioning.lengths()

    def _rounds(self, epoch: int, partitioning: Partitioning) -> list[int]:
        """Return (k): the epoch of each dataset with which this epoch of the mix begins."""
        if isinstance(self.stop, int):
            return [0] * len(self.datasets)
        counts = self._schedule(partitioning.partitions).counts(partitioning.lengths())
        rounds = -(-counts // self._lengths(partitioning.partitions))
        return [epoch * int(most) for most in rounds.max(axis=0)]

    def _chunk_samples(self) -> int:
        mean = sum(part.weight * part.stream_input.mean_bytes for part in self.datasets) / ONE
        return min(max(1, int(CHUNK_BYTES / max(1, mean))), self.limits.part_samples)


class MixedStream(Stream):
    """Several datasets as one `Stream`; made by `shardpack.mix`.

    Attributes:
        weights: Share of each dataset in the samples; the sum is 1.
        stop: The rule that ends an epoch.
    """

    def __init__(self, epochs: MixedEpochs, options: StreamOptions | None = None) -> None:
        self._mixed = epochs
        self.weights = tuple(part.weight / ONE for part in epochs.datasets)
        self.stop = epochs.stop
        super().__init__(epochs, options)

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of samples of each dataset in this epoch, over all ranks."""
        return self._mixed.counts(self.epoch, self.rank_slice.partitioning)


def mix(
    datasets: Mapping[Any, float] | Iterable[tuple[Any, float]],
    *,
    seed: int = 0,
    stop: str | int = "first",
    shuffle: str | bool = "blocks",
    rank: int = 0,
    world_size: int = 1,
    batch_size: int | None = None,
    tail: str = "pad",
    partitions: int | None = None,
    block_bytes: int | str = DEFAULT_BLOCK_BYTES,
    window_blocks: int | None = None,
    fields: Sequence[str] | None = None,
    memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
) -> MixedStream:
    """Return a stream of samples from several datasets, in fixed proportions.

    The dataset of the n-th sample is computed: any stretch of the stream has the proportions of the weights, to
    within a sample or two. `sample.source` is the number of its dataset. Each dataset has an order of its own,
    even one that is given twice. Views (`ds.select(...)`) can be mixed too.

    Args:
        datasets: Datasets and their weights, positive numbers of any sum. Use a list of pairs to give
            the same object twice.
        seed: Any integer.
        stop: When an epoch ends. "first": before any dataset would begin again, so that no sample repeats
            except for padding. "all": when each dataset was read at least once; shorter ones continue
            with their next epoch, in another order. With both, the next epoch of the mix begins every
            dataset anew. A number: after this many samples, over all ranks; the next epoch continues there.
        shuffle: See `Dataset.stream`; each dataset is shuffled by itself.
        rank, world_size, batch_size: See `Dataset.stream`.
        partitions: Default: as for `Dataset.stream`, but so few that each partition has 64 samples of the
            smallest dataset; with stop="first", an epoch leaves out up to one sample per partition.
        tail: "pad" or "drop"; see `Dataset.stream`.
        block_bytes, window_blocks: See `Dataset.stream`; each dataset has windows of its own.
        fields: The fields to read; every dataset must have them. None for all.
        memory_bytes: See `Dataset.stream`; for all datasets together.

    Raises:
        OptionError: An option is out of range, or options contradict each other.
        FieldNotFoundError: A dataset lacks one of the fields.

    Example:
        >>> stream = shardpack.mix([(ds, 3), (ds, 1)], seed=0, stop="all")
        >>> stream.weights
        (0.75, 0.25)
    """
    options = StreamOptions(
        shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, tail=tail,
        partitions=partitions, block_bytes=block_bytes, window_blocks=window_blocks, fields=fields,
        memory_bytes=memory_bytes,
    )  # fmt: skip
    return open_mix(datasets, stop, options)


def open_mix(
    datasets: Mapping[Any, float] | Iterable[tuple[Any, float]], stop: str | int, options: StreamOptions
) -> MixedStream:
    """Return what `mix` returns.

    Raises:
        OptionError, FieldNotFoundError: As for `mix`.
    """
    pairs = list(datasets.items()) if isinstance(datasets, Mapping) else list(datasets)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], Streamable):
            raise OptionError(f"not a dataset with its weight: {pair!r}; give {{dataset: weight}}, or pairs of them")
    if stop not in STOPS:
        if isinstance(stop, str):
            raise OptionError(f"stop is {stop!r}; choose 'first', 'all' or a number of samples")
        stop = as_integer("stop", stop, minimum=1, maximum=LONGEST)
    shuffle, limits = options.as_shuffle(), options.read_limits()
    weights = shares([weight for _, weight in pairs])
    parts = [MixPart(dataset.stream_input(options.fields), w) for (dataset, _), w in zip(pairs, weights, strict=True)]
    return MixedStream(MixedEpochs(tuple(parts), shuffle, stop, limits), options)


def _interleaved(
    samples: Sequence[Iterator[Sample]], sources: Iterable[int], repeats: Iterable[int]
) -> Iterator[Sample]:
    """Yield the next sample of each of these sources; record its source, and which time the sample comes."""
    for source, repeat in zip(sources, repeats, strict=True):
        sample = next(samples[source])
        sample.source = source
        if repeat:
            sample.repeat += repeat
        yield sample

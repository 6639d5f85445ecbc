"""`mix`: several datasets as one stream, in fixed proportions, elastic and resumable like any stream.

    numbers of a rank's samples --rank slice--> (partition, n) --schedule--> (dataset, number within it)
      --its epochs, one reader each--> samples, taken from the readers in the schedule's order

A partition of the mix takes from the same partition of every dataset, so a rank reads blocks that no
other rank reads, and the global batches do not depend on the world size. The arithmetic is in `order/mixture.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain, tee
from typing import Any

import numpy as np

from shardpack.errors import OptionError
from shardpack.format.stream_state import shown
from shardpack.order.mixture import LONGEST, ONE, Schedule, check_length, length_until, shares
from shardpack.order.options import DEFAULT_BLOCK_BYTES, Shuffle, as_shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.permutation import MIX_SEED, derive_key
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.arrays import Integers
from shardpack.stream.epochs import Batches, EpochReading, default_partitions
from shardpack.stream.reader import DEFAULT_MEMORY_BYTES, Parts, ReadLimits, read_limits
from shardpack.stream.source import Source, Streamable
from shardpack.stream.stream import Stream

STOPS = ("first", "all")
SAMPLES_PER_PARTITION = 64  # of the smallest dataset at least, where nobody says how many partitions there are

_Scheduled = tuple[Integers, Integers, Integers]  # (n) dataset, partition, and number in that dataset's partition


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One dataset of a mix.

    Attributes:
        source: Its samples.
        weight: Its share of the mix in units of 2^-32.
    """

    source: Source
    weight: int


@dataclass(frozen=True, eq=False)
class MixedEpochs:
    """The epochs of several datasets, as `Epochs` has them.

    Attributes:
        members: The datasets.
        shuffle: How each is shuffled, but for its seed.
        stop: The rule that ends an epoch.
        limits: Of all readers together.
    """

    members: tuple[Member, ...]
    shuffle: Shuffle
    stop: str | int
    limits: ReadLimits

    @property
    def fields(self) -> tuple[str, ...]:
        """See `Epochs.fields`: those of any dataset."""
        return tuple(sorted({name for member in self.members for name in member.source.names}))

    def slice_of(self, partitions: int, global_batch: int, tail: str, *, rank: int, world_size: int) -> RankSlice:
        """See `Epochs.slice_of`."""
        if tail == "exact":
            raise OptionError("a mix has no exact tail; choose tail='pad' or 'drop', or stream the datasets one by one")
        Partitioning(1, partitions, global_batch, tail)  # complains about these numbers first
        for number, member in enumerate(self.members):
            if not len(member.source.view):
                raise OptionError(f"dataset {number} has 0 samples; leave it out")
        if isinstance(self.stop, int):
            total = self.stop
        else:
            total = length_until(self._schedule(partitions), self.stop, self._lengths(partitions)) * partitions
        return RankSlice(Partitioning(total, partitions, global_batch, tail), rank, world_size)

    def with_window(self, window_blocks: int) -> MixedEpochs:
        """See `Epochs.with_window`."""
        return replace(self, shuffle=replace(self.shuffle, window_blocks=window_blocks))

    def default_partitions(self, world_size: int, batch_size: int | None) -> int:
        """See `Epochs.default_partitions`; fewer where datasets are small, as partitions end at different samples."""
        found = default_partitions(self.shuffle, world_size, batch_size)
        fewest = min(len(member.source.view) for member in self.members)
        while found > world_size and found * SAMPLES_PER_PARTITION > fewest:
            found = max(d for d in range(world_size, found, world_size) if found % d == 0)
        return found

    def identity(self) -> dict[str, Any]:
        """See `Epochs.identity`; each dataset has its own in the state of a mix."""
        return {"fingerprint": "mix", "generation": 0, "view": ""}

    def members_identity(self) -> list[dict[str, Any]]:
        """Return what the state of a mix says of each dataset."""
        return [
            {
                "fingerprint": member.source.fingerprint,
                "generation": member.source.generation,
                "view": member.source.view.digest,
                "weight": member.weight,
            }
            for member in self.members
        ]

    def counts(self, epoch: int, partitioning: Partitioning) -> tuple[int, ...]:
        """Return how many samples each dataset gives to an epoch, over all ranks."""
        schedule, lengths = self._schedule(partitioning.partitions), partitioning.lengths()
        begin = self._first_offsets(epoch, partitioning)
        counts = schedule.counts(begin + lengths) - schedule.counts(begin)
        return tuple(counts.sum(axis=0).tolist())

    def parts(self, epoch: int, rank_slice: RankSlice, batches: Batches, *, stride: int, views: bool = False) -> Parts:
        """See `Epochs.parts`."""
        readings = [
            self._reading(number, rank_slice, stride=stride, views=views) for number in range(len(self.members))
        ]
        amounts = [reading.batch_samples() for reading in readings]
        first, most = min(first for first, _ in amounts), self._chunk_samples()
        scheduled = tee(self._scheduled(epoch, rank_slice, batches.numbers(first, most)), len(readings) + 1)
        rounds = self._rounds(epoch, rank_slice.partitioning)
        with ExitStack() as stack:
            samples = []
            for number, (reading, own) in enumerate(zip(readings, scheduled[1:], strict=True)):
                slots = self._slots(number, own, rounds[number], reading)
                samples.append(chain.from_iterable(stack.enter_context(closing(reading.parts(slots)))))
            for sources, *_ in scheduled[0]:
                yield _interleaved(samples, sources.tolist())

    def _reading(self, number: int, rank_slice: RankSlice, *, stride: int, views: bool) -> EpochReading:
        member, parts = self.members[number], rank_slice.partitioning
        seed = derive_key(MIX_SEED, self.shuffle.seed, number)
        own = Partitioning(len(member.source.view), parts.partitions, parts.global_batch, "exact")
        count = len(self.members)
        limits = replace(
            self.limits,
            memory_bytes=max(1, self.limits.memory_bytes // count),
            threads=max(2, self.limits.threads // count),
            views=views,
        )
        shuffle = replace(self.shuffle, seed=seed)
        return EpochReading(member.source, shuffle, replace(rank_slice, partitioning=own), limits, stride=stride)

    def _scheduled(self, epoch: int, rank_slice: RankSlice, batches: Iterable[Integers]) -> Iterator[_Scheduled]:
        """Yield which sample of which dataset comes: its number counts over all epochs of that dataset."""
        partitioning = rank_slice.partitioning
        schedule, base = self._schedule(partitioning.partitions), self._first_offsets(epoch, partitioning)
        for numbers in batches:
            partition, offset = rank_slice.locate(numbers)
            source, number = schedule.items(partition, base[partition] + offset)
            yield source, partition, number

    def _slots(
        self,
        source: int,
        scheduled: Iterable[_Scheduled],
        first_epoch: int,
        reading: EpochReading,
    ) -> Iterator[tuple[Integers, Integers, Integers]]:
        """Yield (epoch, partition, offset) of one dataset's samples; a partition without items borrows one."""
        parts = reading.planner.partitioning
        lengths = np.maximum(1, parts.lengths())
        for sources, partitions, numbers in scheduled:
            at = np.flatnonzero(sources == source)
            partition, number = partitions[at], numbers[at]
            epoch, offset = np.divmod(number, lengths[partition])
            epoch += first_epoch
            if parts.shortest == 0:
                empty = np.flatnonzero(partition < parts.partitions - parts.longer)
                for i in empty.tolist():
                    partition[i], offset[i] = parts.locate(int(partition[i]) % parts.num_items)
            if len(epoch):
                reading.planner.forget(int(epoch.min()))
            yield epoch, partition, offset

    def _schedule(self, partitions: int) -> Schedule:
        return Schedule([member.weight for member in self.members], seed=self.shuffle.seed, partitions=partitions)

    def _lengths(self, partitions: int) -> Integers:
        """Return (p, k) how many samples of each dataset a partition has in an epoch of that dataset."""
        lengths = [Partitioning(len(m.source.view), partitions, partitions, "exact").lengths() for m in self.members]
        return np.maximum(1, np.stack(lengths, axis=1))

    def _first_offsets(self, epoch: int, partitioning: Partitioning) -> Integers:
        """Return (p) where an epoch begins in the endless sequence of each partition: a number of samples goes on."""
        longest = partitioning.shortest + (partitioning.longer > 0)
        if not isinstance(self.stop, int):
            return np.zeros(partitioning.partitions, np.int64)
        check_length((epoch + 1) * longest)
        return epoch * partitioning.lengths()

    def _rounds(self, epoch: int, partitioning: Partitioning) -> list[int]:
        """Return (k) which epoch of each dataset this one begins with: the named rules begin each anew."""
        if isinstance(self.stop, int):
            return [0] * len(self.members)
        counts = self._schedule(partitioning.partitions).counts(partitioning.lengths())
        rounds = -(-counts // self._lengths(partitioning.partitions))
        return [epoch * int(most) for most in rounds.max(axis=0)]

    def _chunk_samples(self) -> int:
        mean = sum(member.weight * member.source.mean_bytes for member in self.members) / ONE
        return min(max(1, int(self.limits.load_bytes / max(1, mean))), self.limits.part_samples)


class MixedStream(Stream):
    """Several datasets as one stream; made by `shardpack.mix`. All that `Stream` says holds.

    Attributes:
        weights: Share of each dataset in the samples; they add up to 1.
        stop: The rule that ends an epoch.
    """

    def __init__(self, epochs: MixedEpochs, **options: Any) -> None:
        self._mixed = epochs
        self.weights = tuple(member.weight / ONE for member in epochs.members)
        self.stop = epochs.stop
        super().__init__(epochs, **options)

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples that each dataset gives to this epoch, over all ranks."""
        return self._mixed.counts(self.epoch, self.rank_slice.partitioning)

    def state_at(self, rank_samples: int) -> dict[str, Any]:
        """See `Stream.state_at`."""
        return {**super().state_at(rank_samples), "datasets": self._mixed.members_identity(), "stop": self.stop}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Stream.load_state_dict`."""
        if not isinstance(state, Mapping) or not {"datasets", "stop"} <= state.keys():
            raise OptionError("not the state of a mix; load it into the stream that it was taken from")
        _check_same_datasets(state["datasets"], self._mixed.members_identity())
        if type(state["stop"]) is not type(self.stop) or state["stop"] != self.stop:
            raise OptionError(
                f"state is of a mix that stops at {shown(state['stop'])}, this one stops at {shown(self.stop)}"
            )
        super().load_state_dict({name: value for name, value in state.items() if name not in ("datasets", "stop")})


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
    """Return a stream that takes its samples from several datasets, in fixed proportions.

    Which dataset the n-th sample is from is arithmetic: any stretch of the stream holds the
    weights but for a sample or two. `sample.source` is the number of its dataset. Every dataset has
    an order of its own, also one that is given twice. Views (`ds.select(...)`) mix as well.

    Args:
        datasets: Datasets and their weights: positive numbers of any sum. A list of pairs, where
            the same object comes twice.
        seed: Any integer.
        stop: When an epoch ends. "first": before any dataset would begin again, so no sample comes
            twice but for padding. "all": when each has been through at least once; the shorter ones
            go on with their next epoch, in another order. Both begin anew in the mix's next epoch.
            A number: after so many samples, over all ranks; the next epoch goes on from there.
        shuffle: As `Dataset.stream` takes it, for each dataset by itself.
        rank, world_size, batch_size: See `Dataset.stream`.
        partitions: See `Dataset.stream`; by default no more than leave 64 samples of the smallest
            dataset to each, as an epoch that ends with the first leaves out up to one a partition.
        tail: "pad" or "drop", for what ranks cannot share alike.
        block_bytes, window_blocks: See `Dataset.stream`; each dataset has windows of its own.
        fields: Read only these; every dataset must have them.
        memory_bytes: See `Dataset.stream`; of all datasets together.

    Raises:
        OptionError: An option is out of range, or they do not fit together.
        FieldNotFoundError: A dataset has no such field.

    Example:
        >>> stream = shardpack.mix([(ds, 3), (ds, 1)], seed=0, stop="all")
        >>> stream.weights
        (0.75, 0.25)
    """
    pairs = list(datasets.items()) if isinstance(datasets, Mapping) else list(datasets)
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], Streamable):
            raise OptionError(f"not a dataset with its weight: {pair!r}; give {{dataset: weight}}, or pairs of them")
    if stop not in STOPS:
        if isinstance(stop, str):
            raise OptionError(f"stop is {stop!r}; choose 'first', 'all' or a number of samples")
        stop = as_integer("stop", stop, minimum=1, maximum=LONGEST)
    whole = as_shuffle(shuffle, seed, block_bytes, window_blocks, world_size=world_size)
    weights = shares([weight for _, weight in pairs])
    members = tuple(
        Member(dataset.stream_source(fields), weight) for (dataset, _), weight in zip(pairs, weights, strict=True)
    )
    return MixedStream(
        MixedEpochs(members, whole, stop, read_limits(memory_bytes)),
        rank=rank, world_size=world_size, batch_size=batch_size, tail=tail, partitions=partitions,
        fixed_window=window_blocks is not None,
    )  # fmt: skip


def _interleaved(samples: Sequence[Iterator[Sample]], sources: Iterable[int]) -> Iterator[Sample]:
    """Yield the next sample of each source."""
    for source in sources:
        sample = next(samples[source])
        sample.source = source
        yield sample


def _check_same_datasets(found: object, own: Sequence[Mapping[str, Any]]) -> None:
    if not isinstance(found, Sequence) or len(found) != len(own):
        count = len(found) if isinstance(found, Sequence) else "no"
        raise OptionError(f"state is of a mix of {count} datasets, this one has {len(own)}")
    for number, (theirs, ours) in enumerate(zip(found, own, strict=True)):
        for name, value in ours.items():
            there = theirs.get(name) if isinstance(theirs, Mapping) else None
            if there != value and name != "generation":
                raise OptionError(
                    f"state is of another mix: {name} of dataset {number} is {shown(there)} there, {shown(value)} "
                    "here; mix the same, in the same order, or start the epoch again"
                )

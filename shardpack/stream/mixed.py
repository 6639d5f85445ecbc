"""`mix`: several datasets as one stream, in fixed proportions, elastic and resumable like any stream.

    rank share --places--> (partition, n) --schedule--> (dataset, number within it)
      --its epoch, its order--> items --view--> positions --fetch--> samples, back in the schedule's order

A partition of the mix takes from the same partition of every dataset, so a rank reads blocks that no
other rank reads, and the global batches do not depend on the world size. The arithmetic is in `plan/mixing.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.dataset import Dataset
from shardpack.errors import FormatError, OptionError, ShardNotFoundError
from shardpack.format.stream_state import StreamState
from shardpack.order import view as sequence
from shardpack.order.epoch import (
    DEFAULT_BLOCK_BYTES,
    DEFAULT_WINDOW_BLOCKS,
    EpochOrder,
    Shuffle,
    as_shuffle,
)
from shardpack.order.mixture import Schedule, check_length, length_until, shares
from shardpack.order.partitions import Partitioning, RankShare
from shardpack.order.permutation import MIX_SEED, derive_key
from shardpack.read.read_many import read_parts, read_small
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.threads import ordered_map
from shardpack.stream.chunk_reader import (
    CHUNK_BYTES,
    MAX_CHUNK_BYTES,
    MAX_CHUNK_SAMPLES,
    MAX_FAR_BYTES,
    PREFETCHED_CHUNKS,
)
from shardpack.stream.prefetch import Parts, ReadAhead, Source
from shardpack.stream.stream import Stream

STOPS = ("first", "all")
_NO_FINGERPRINT = "mix"  # in a state; each of its datasets has one there


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    shards: ShardCache
    sequence: sequence.Sequence
    shuffle: Shuffle
    fields: tuple[str, ...] | None
    weight: float

    def as_state(self) -> dict[str, Any]:
        return {"fingerprint": self.sequence.fingerprint, "view": self.sequence.view, "weight": self.weight}


_Chunk = tuple[list[int], dict[int, npt.NDArray[np.int64]]]  # the dataset of each sample; positions in each dataset


class MixedStream(Stream):
    """Several datasets as one stream; made by `shardpack.mix`. All that `Stream` says holds.

    Attributes:
        weights: Share of each dataset in the samples; they add up to 1.
        stop: The rule that ends an epoch.
    """

    def __init__(self, members: Sequence[_Member], shuffle: Shuffle, stop: str | int, **options: Any) -> None:
        self._members, self.stop = tuple(members), stop
        self.weights = tuple(member.weight for member in members)
        super().__init__(members[0].shards, None, shuffle, **options)

    def _shared(self, partitions: int, global_batch: int, tail: str) -> RankShare:
        if tail == "exact":
            raise OptionError("a mix has no exact tail; choose tail='pad' or 'drop', or stream the datasets one by one")
        lengths = [deal.length(0) for deal in self._deals(partitions, global_batch, tail)]
        for number, length in enumerate(lengths):
            if not length:
                raise OptionError(
                    f"dataset {number} has {len(self._members[number].sequence)} samples, too few for "
                    f"{partitions} partition(s) with tail={tail!r}; leave it out, or choose fewer partitions"
                )
        if isinstance(self.stop, int):
            length = Partitioning(self.stop, partitions, global_batch, tail).length(0)
        else:
            length = length_until(self._schedule(partitions), self.stop, lengths)
        deal = Partitioning(length * partitions, partitions, global_batch, tail)
        return RankShare(deal, self._rank, self._world_size)

    def _deals(self, partitions: int, global_batch: int, tail: str) -> list[Partitioning]:
        return [Partitioning(len(member.sequence), partitions, global_batch, tail) for member in self._members]

    def _schedule(self, partitions: int) -> Schedule:
        return Schedule(self.weights, seed=self._shuffle.seed, partitions=partitions)

    @property
    def counts(self) -> tuple[int, ...]:
        """Samples that each dataset gives to this epoch, over all ranks."""
        deal = self._share.deal
        schedule, begin = self._schedule(deal.partitions), _first_place(self.stop, self._epoch, deal)
        counts = schedule.counts(begin + deal.length(0)) - schedule.counts(begin)
        return tuple(counts.sum(axis=0).tolist())

    def _parts(self, epoch: int, share: RankShare, begin: int, steps: range | None = None) -> Parts:
        deal = share.deal
        schedule, base = self._schedule(deal.partitions), _first_place(self.stop, epoch, deal)
        orders = _Orders(self._members, self._deals(deal.partitions, deal.global_batch, deal.tail))
        rounds = _rounds(self.stop, schedule, deal, orders.lengths)
        size, end = self._chunk_samples(), len(share) if steps is None else share.samples_of(steps)

        def chunks() -> Iterator[_Chunk]:
            for first in range(begin, end, size):
                numbers = np.arange(first, min(first + size, end))
                partition, place = share.places_of(numbers if steps is None else share.numbers_of(steps, numbers))
                source, number = schedule.items(partition, base + place)
                positions = {}
                for k in np.unique(source).tolist():
                    mine = np.flatnonzero(source == k)
                    positions[k] = orders.positions(
                        k, epoch * rounds[k], partition[mine], number[mine], announce=first > begin
                    )
                yield source.tolist(), positions

        if not any(member.shards.store.remote for member in self._members):
            for source, positions in chunks():
                reading = {k: self._read(k, found) for k, found in positions.items()}
                yield (next(reading[k]) for k in source)
            return
        load = lambda chunk: (chunk, self._load(chunk))  # noqa: E731
        with closing(ordered_map(chunks(), load, depth=PREFETCHED_CHUNKS, grow=True)) as chunks_loaded:
            for (source, positions), loaded in chunks_loaded:
                reading = {
                    k: self._read(k, found) if (samples := loaded[k]) is None else iter(samples)
                    for k, found in positions.items()
                }
                del loaded
                yield (next(reading[k]) for k in source)

    def _read(self, source: int, positions: npt.NDArray[np.int64]) -> Iterator[Sample]:
        """Yield samples of one dataset, a few MiB in memory at a time; an error comes at the very sample."""
        member = self._members[source]
        sequential = member.shuffle.mode in {"none", "shards"}
        for part in read_parts(
            member.shards, positions, member.fields, max_bytes=MAX_CHUNK_BYTES, streaming=sequential
        ):
            for sample in part:
                sample.source = source
                yield sample

    def _load(self, chunk: _Chunk) -> dict[int, list[Sample] | None]:
        """Return the samples of a chunk by dataset, each all at once; None for what `_read` must read."""
        loaded: dict[int, list[Sample] | None] = {}
        for source, positions in chunk[1].items():
            member = self._members[source]
            try:
                loaded[source] = read_small(member.shards, positions, member.fields, max_bytes=MAX_FAR_BYTES)
            except (FormatError, ShardNotFoundError):
                loaded[source] = None
            for sample in loaded[source] or ():
                sample.source = source
        return loaded

    def _chunk_samples(self) -> int:
        manifests = [member.shards.manifest for member in self._members]
        sizes = [manifest.num_bytes / max(1, manifest.num_samples) for manifest in manifests]
        mean = sum(weight * size for weight, size in zip(self.weights, sizes, strict=True))
        return min(max(1, int(CHUNK_BYTES / max(1, mean))), MAX_CHUNK_SAMPLES)

    # Resuming

    def state_at(self, rank_samples: int) -> dict[str, Any]:
        state = super().state_at(rank_samples)
        return state | {"datasets": [member.as_state() for member in self._members], "stop": self.stop}

    def _state_at(self, taken: int) -> StreamState:
        return replace(super()._state_at(taken), fingerprint=_NO_FINGERPRINT)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or not {"datasets", "stop"} <= state.keys():
            raise OptionError("not the state of a mix; load it into the stream that it was taken from")
        _check_same_datasets(state["datasets"], [member.as_state() for member in self._members])
        if type(state["stop"]) is not type(self.stop) or state["stop"] != self.stop:
            raise OptionError(f"state is of a mix that stops at {state['stop']!r}, this one stops at {self.stop!r}")
        super().load_state_dict({name: value for name, value in state.items() if name not in ("datasets", "stop")})


class _Orders:
    """The orders of the epochs that are under way, each with its read-ahead."""

    def __init__(self, members: Sequence[_Member], deals: Sequence[Partitioning]) -> None:
        self._members, self._deals = members, deals
        self.lengths = [deal.length(0) for deal in deals]
        self._kept: dict[tuple[int, int], tuple[EpochOrder, ReadAhead]] = {}

    def positions(
        self,
        source: int,
        first_epoch: int,
        partition: npt.NDArray[np.int64],
        number: npt.NDArray[np.int64],
        *,
        announce: bool,
    ) -> npt.NDArray[np.int64]:
        """Return the positions in one dataset of its n-th samples in some partitions, counted over all epochs."""
        found = np.empty_like(number)
        epoch, offset = np.divmod(number, self.lengths[source])
        for later in np.unique(epoch).tolist():
            at = np.flatnonzero(epoch == later)
            order, ahead = self._order(source, first_epoch + later)
            if announce:  # the first samples should not wait for what comes later
                ahead.announce(partition[at], offset[at])
            found[at] = order.items(partition[at], offset[at])
        for old in [key for key in self._kept if key[0] == source and key[1] < first_epoch + int(epoch.min())]:
            del self._kept[old]
        return self._members[source].sequence.at(found)

    def _order(self, source: int, epoch: int) -> tuple[EpochOrder, ReadAhead]:
        if (source, epoch) not in self._kept:
            member = self._members[source]
            order = EpochOrder(member.sequence.segments(), member.shuffle, self._deals[source], epoch)
            ahead = ReadAhead(Source(member.shards, member.sequence, order, self._deals[source], member.fields))
            self._kept[source, epoch] = order, ahead
        return self._kept[source, epoch]


def mix(
    datasets: Mapping[Dataset, float] | Iterable[tuple[Dataset, float]],
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
    window_blocks: int = DEFAULT_WINDOW_BLOCKS,
    fields: Sequence[str] | None = None,
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
        rank, world_size, batch_size, partitions: See `Dataset.stream`.
        tail: "pad" or "drop", for each dataset by itself, and for a number of samples that ranks
            cannot share alike.
        block_bytes, window_blocks: See `Dataset.stream`; each dataset has a window of its own.
        fields: Read only these; every dataset must have them.

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
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], Dataset):
            raise OptionError(f"not a dataset with its weight: {pair!r}; give {{dataset: weight}}, or pairs of them")
    if isinstance(stop, str):
        if stop not in STOPS:
            raise OptionError(f"stop is {stop!r}; choose 'first', 'all' or a number of samples")
    else:
        stop = as_integer("stop", stop, minimum=1)
    whole = as_shuffle(shuffle, seed, block_bytes, window_blocks)
    members = []
    for number, ((dataset, _), weight) in enumerate(zip(pairs, shares([weight for _, weight in pairs]), strict=True)):
        own = Shuffle(whole.mode, derive_key(MIX_SEED, whole.seed, number), whole.block_bytes, whole.window_blocks)
        items = sequence.Sequence(dataset.manifest, dataset._positions)
        wanted = None if fields is None else dataset._checked_fields(fields)
        members.append(_Member(dataset._shards, items, own, wanted, weight))
    return MixedStream(
        members, whole, stop,
        rank=rank, world_size=world_size, batch_size=batch_size, tail=tail, partitions=partitions,
    )  # fmt: skip


def _first_place(stop: str | int, epoch: int, deal: Partitioning) -> int:
    """Return where an epoch begins in the endless sequence of each partition: a number of samples goes on."""
    begin = epoch * deal.length(0) if isinstance(stop, int) else 0
    check_length(begin + deal.length(0))
    return begin


def _rounds(stop: str | int, schedule: Schedule, deal: Partitioning, lengths: Sequence[int]) -> list[int]:
    """Return (k) how many epochs of each dataset an epoch of the mix begins: the named rules begin it anew."""
    if isinstance(stop, int):
        return [0] * len(lengths)
    most = schedule.counts(deal.length(0)).max(axis=0)
    return [-(-int(count) // length) for count, length in zip(most, lengths, strict=True)]


def _check_same_datasets(found: object, own: Sequence[Mapping[str, Any]]) -> None:
    if not isinstance(found, Sequence) or len(found) != len(own):
        count = len(found) if isinstance(found, Sequence) else "no"
        raise OptionError(f"state is of a mix of {count} datasets, this one has {len(own)}")
    for number, (theirs, ours) in enumerate(zip(found, own, strict=True)):
        for name, value in ours.items():
            there = theirs.get(name) if isinstance(theirs, Mapping) else None
            if there != value:
                raise OptionError(
                    f"state is of another mix: {name} of dataset {number} is {there!r} there, {value!r} here; "
                    "mix the same, in the same order, or start the epoch anew"
                )

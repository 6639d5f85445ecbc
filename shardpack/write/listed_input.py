"""A listing as what chunks are cut from: sizes are known, payloads are read a batch at a time."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.errors import CorruptShardError
from shardpack.sources.listing import Listing, name_of
from shardpack.sources.payloads import read_listed, read_payload
from shardpack.sources.splits import counted_splits, split_ends, split_of
from shardpack.write.apply_steps import Failure, failure_of
from shardpack.write.chunk_input import BATCH_BYTES, BATCH_SAMPLES, Ratio, SampleName
from shardpack.write.pack_shard import input_digest
from shardpack.write.plan_members import ListedMembers
from shardpack.write.sharding import cut_level, sample_bytes
from shardpack.write.transform import Counts, KeyedFields

DRAWN_SAMPLES = 64  # of each stretch
DRAWN_SHARE = 64  # one of so many samples is drawn, where that makes several stretches
MOST_STRETCHES = 8
_DRAWN_AT_ONCE = 8  # samples
_DIGESTED_SAMPLES = 65_536  # at once: their digest takes memory

Range = tuple[int, int]  # samples first <= i < stop


def evenly_drawn(num_samples: int, count: int = DRAWN_SAMPLES) -> npt.NDArray[np.int64]:
    """Return the numbers of at most `count` samples, evenly drawn."""
    count = min(count, num_samples)
    return (2 * np.arange(count, dtype=np.int64) + 1) * num_samples // max(1, 2 * count)


def shown_numbers(num_samples: int, count: int) -> list[int]:
    """Return the numbers of at most `count` of some samples: the first, the last, and others evenly between."""
    last = num_samples - 1
    return sorted({last * number // (count - 1) for number in range(count)}) if last >= 0 else []


class ListedInput:
    """All samples of a listing, those of a split together."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.listing.classes

    @property
    def num_samples(self) -> int:
        return self.listing.num_samples

    @property
    def source_bytes(self) -> int:
        return int(self.listing.size.sum())

    @cached_property
    def _sizes(self) -> npt.NDArray[np.int64]:
        return sample_bytes(self.listing)

    @property
    def planned_bytes(self) -> int:
        """Length of the samples in tars, if they were packed as they are."""
        return int(self._sizes.sum())

    @property
    def members(self) -> ListedMembers:
        return ListedMembers(self.listing)

    def digest(self, *, anywhere: bool = False) -> str:
        splits = json.dumps(counted_splits(self.listing)) if self.listing.split is not None else ""
        return xxh3_128_hexdigest("".join([*self._digests(anywhere), splits]).encode())

    def _digests(self, anywhere: bool) -> Iterator[str]:
        for first in range(0, self.num_samples, _DIGESTED_SAMPLES):
            part = self.listing.slice(first, min(first + _DIGESTED_SAMPLES, self.num_samples))
            yield input_digest(str(first), part, anywhere=anywhere)

    @property
    def _num_stretches(self) -> int:
        """Into how many parts the samples are divided, each of which may grow in its own way: classes often do."""
        return max(1, min(MOST_STRETCHES, self.num_samples // (DRAWN_SAMPLES * DRAWN_SHARE)))

    def drawn(self) -> Iterator[tuple[int, ListedPart]]:
        drawn = evenly_drawn(self.num_samples, DRAWN_SAMPLES * self._num_stretches)
        for first in range(0, len(drawn), _DRAWN_AT_ONCE):
            yield first // DRAWN_SAMPLES, ListedPart(self.listing.take(drawn[first : first + _DRAWN_AT_ONCE]))

    def cut(self, ratios: Sequence[Ratio], max_bytes: int, max_samples: int | None) -> list[Range]:
        most = self.num_samples if max_samples is None else max_samples
        stretch = np.arange(self.num_samples) * len(ratios) // max(1, self.num_samples)
        after, before = np.array(ratios, np.int64).reshape(-1, 2)[stretch].T
        cuts = cut_level(-(-self._sizes * after // before), max_bytes, most, split_ends(self.listing)).tolist()
        return list(pairwise(cuts))

    def split(self, span: Range) -> str | None:
        return split_of(self.listing, span[0])

    def span_bytes(self, span: Range) -> int:
        start = self.listing.start
        return int(self.listing.size[start[span[0]] : start[span[1]]].sum())

    def span_digest(self, name: str, span: Range, *, anywhere: bool = False) -> str:
        return input_digest(name, self.listing.slice(*span), anywhere=anywhere)

    def part(self, span: Range) -> ListedPart:
        """Return the samples of a chunk, copied out of the listing."""
        return ListedPart(self.listing.slice(*span))

    def first_part(self) -> ListedPart:
        return ListedPart(self.listing.slice(0, min(1, self.num_samples)))

    def shown(self, count: int) -> Iterator[tuple[str | None, ListedPart]]:
        for sample in shown_numbers(self.num_samples, count):
            yield split_of(self.listing, sample), ListedPart(self.listing.slice(sample, sample + 1))

    def compared(self, spans: Sequence[Range], count: int) -> Iterator[tuple[int, ListedPart]]:
        starts = [first for first, _ in spans]
        for sample in evenly_drawn(self.num_samples, count).tolist():
            chunk = int(np.searchsorted(starts, sample, side="right")) - 1
            yield chunk, ListedPart(self.listing.slice(sample, sample + 1))


@dataclass(frozen=True, slots=True, eq=False)
class ListedPart:
    """Samples of a listing. Pickles to about 150 bytes per member."""

    listing: Listing

    @property
    def title(self) -> str:
        count = self.listing.num_samples
        return f"{count:,} samples from {self.listing.keys[0]!r}" if count else "no samples"

    def batches(self) -> Iterator[ListedBatch]:
        for first, stop in batch_ranges(self.listing):
            yield ListedBatch(self.listing, first, stop)

    def probe(self) -> None:
        for member in range(len(self.listing.payload)):
            read_payload(self.listing, member, 1)


class ListedBatch:
    """Samples of a listing, whose payloads are read when it is made; one that is damaged at its source is a Failure."""

    def __init__(self, listing: Listing, first: int, stop: int) -> None:
        self._listing, self._first, self._stop = listing, first, stop
        self.samples = _read(listing, first, stop)
        self.counts: Counts = Counter()

    @property
    def num_bytes(self) -> int:
        start = self._listing.start
        return int(self._listing.size[start[self._first] : start[self._stop]].sum())

    def name(self, number: int) -> SampleName:
        sample = self._first + number
        name, key = name_of(self._listing, sample), self._listing.keys[sample]
        return SampleName(name, key, None if name == key else name)

    def planned_bytes(self, number: int) -> int:
        sample = self._first + number
        return int(sample_bytes(self._listing.slice(sample, sample + 1))[0])


def _read(listing: Listing, first: int, stop: int) -> Sequence[KeyedFields | Failure]:
    try:
        return read_listed(listing, first, stop)
    except CorruptShardError as error:
        if stop - first == 1:
            return [failure_of(error)]
    return [sample for one in range(first, stop) for sample in _read(listing, one, one + 1)]


def batch_ranges(listing: Listing) -> Iterator[Range]:
    """Yield (first, stop) for each run of samples that is transformed at once; a larger sample is a run of its own."""
    ends = np.concatenate(([0], np.cumsum(listing.size)))[listing.start]
    first = 0
    while first < listing.num_samples:
        stop = int(np.searchsorted(ends, int(ends[first]) + BATCH_BYTES, side="right")) - 1
        stop = max(first + 1, min(stop, first + BATCH_SAMPLES))
        yield first, stop
        first = stop

"""Plan shards from payload sizes: how long each sample is in a tar, and which samples share a shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError, SourceError
from shardpack.format.layout import shard_name
from shardpack.format.naming import key_bytes
from shardpack.format.tar_header import BLOCK, END_OF_ARCHIVE, header_length, padded, unusual_members
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.sizes import DEFAULT_MAX_SHARD_BYTES, parse_bytes
from shardpack.sources.listing import Listing
from shardpack.sources.splits import split_ends, split_of


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """When a shard is full: the limit that is reached first ends it.

    Attributes:
        max_bytes: Hard cap on the finished tar, including headers, padding and end blocks.
        max_samples: Cap on the number of samples, or None.
        allow_oversized: Whether a sample that does not fit in `max_bytes` gets a shard of its own, instead of an error.

    Raises:
        OptionError: A limit is smaller than the smallest sample.
    """

    max_bytes: int = parse_bytes(DEFAULT_MAX_SHARD_BYTES)
    max_samples: int | None = None
    allow_oversized: bool = False

    def __post_init__(self) -> None:
        smallest = BLOCK + len(END_OF_ARCHIVE)
        if self.max_bytes < smallest:
            raise OptionError(f"max_shard_bytes is {self.max_bytes}, less than an empty member takes ({smallest})")
        if self.max_samples is not None:
            object.__setattr__(self, "max_samples", as_integer("max_shard_samples", self.max_samples, minimum=1))


def member_bytes(listing: Listing) -> npt.NDArray[np.int64]:
    """Return (m) the length of each member in a tar: headers, payload and padding."""
    num_keys = listing.num_samples
    key_lengths = np.fromiter((len(key_bytes(key)) for key in listing.keys), np.int64, num_keys)
    field_lengths = np.array([len(field) + 1 for field in listing.fields], np.int64)
    counts = np.diff(listing.start)
    name_lengths = np.repeat(key_lengths, counts) + field_lengths[listing.field_code]
    lengths = BLOCK + padded(listing.size)
    unusual = unusual_members(name_lengths, listing.size)
    for member, sample in zip(unusual.tolist(), listing.owners(unusual).tolist(), strict=True):
        name = f"{listing.keys[sample]}.{listing.fields[listing.field_code[member]]}".encode()
        lengths[member] += header_length(name, int(listing.size[member])) - BLOCK
    return lengths


def sample_bytes(listing: Listing) -> npt.NDArray[np.int64]:
    """Return (n) the length of each sample in a tar."""
    if not listing.num_samples:
        return np.zeros(0, np.int64)
    ends = np.concatenate(([0], np.cumsum(member_bytes(listing))))
    return np.diff(ends[listing.start])


def cut_shards(sizes: npt.NDArray[np.int64], limits: ShardLimits, listing: Listing) -> npt.NDArray[np.int64]:
    """Return (shards + 1) the first sample of each shard, and the number of samples; each shard is filled to a limit.

    No shard holds samples of two splits. Costs one pass over the samples, and two bisections per shard.

    Args:
        sizes: (n) length of each sample in a tar.
        limits: When a shard is full.
        listing: The samples, those of a split together.

    Raises:
        SourceError: A sample does not fit in a shard, and oversized shards are not allowed.
    """
    room = limits.max_bytes - len(END_OF_ARCHIVE)
    if not limits.allow_oversized:
        _check_fits(sizes, room, listing)
    return cut(sizes, room, limits.max_samples or len(sizes), split_ends(listing))


def cut(
    sizes: npt.NDArray[np.int64], max_bytes: int, max_samples: int, borders: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return where to cut samples of these sizes into runs of at most so many bytes and samples, but at least one.

    Args:
        sizes: (n) bytes of each sample.
        max_bytes, max_samples: Limits of a run; a larger sample is a run of its own.
        borders: Where cuts must be, ascending, the last at n.

    Returns:
        (runs + 1) the first sample of each run, and n.
    """
    ends = np.concatenate(([0], np.cumsum(sizes)))
    cuts = [0]
    for border in borders:
        cuts += _cut(ends, cuts[-1], border, max_bytes, max_samples)
    return np.array(cuts, np.int64)


def _cut(ends: npt.NDArray[np.int64], first: int, border: int, max_bytes: int, max_samples: int) -> list[int]:
    """Return where the runs of the samples `first <= i < border` end; sample i is the bytes `ends[i]:ends[i + 1]`."""
    cuts = []
    while first < border:
        stop = int(np.searchsorted(ends, int(ends[first]) + max_bytes, side="right")) - 1
        first = max(min(stop, first + max_samples, border), first + 1)
        cuts.append(first)
    return cuts


def cut_level(
    sizes: npt.NDArray[np.int64], max_bytes: int, max_samples: int, borders: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return cuts as `cut`, as many, but with the longest run between two borders as short as can be.

    Workers that share out the runs then finish together; full runs and a short rest would keep one of them waiting.
    Bisects the limit: about 30 times the cuts, but one pass over the samples.
    """
    ends = np.concatenate(([0], np.cumsum(sizes)))
    cuts = [0]
    for border in borders:
        first, longest = cuts[-1], max_bytes
        runs = _cut(ends, first, border, longest, max_samples)
        too_short = int(ends[border] - ends[first]) // max(1, len(runs)) - 1
        while longest - too_short > 1:
            middle = (longest + too_short) // 2
            shorter = _cut(ends, first, border, middle, max_samples)
            if len(shorter) > len(runs):
                too_short = middle
            else:
                longest, runs = middle, shorter
        cuts += runs
    return np.array(cuts, np.int64)


class UnitName(NamedTuple):
    """What names a planned shard, or a chunk and its shards: units are numbered within their split."""

    number: int
    split: str | None = None

    def shard(self, of_chunk: int | None = None, *, compressed: bool) -> str:
        """Return the name of the shard; or, of a chunk, that of one of its shards."""
        return shard_name(self.number, of_chunk, split=self.split, compressed=compressed)


def unit_names(listing: Listing, cuts: npt.NDArray[np.int64]) -> list[UnitName]:
    """Return the names of units that begin at these samples, the last of which is the end."""
    return number_units(split_of(listing, first) for first in cuts[:-1].tolist())


def number_units(splits: Iterable[str | None]) -> list[UnitName]:
    """Return the names of units in these splits."""
    seen = Counter[str | None]()
    names: list[UnitName] = []
    for split in splits:
        names.append(UnitName(seen[split], split))
        seen[split] += 1
    return names


def _check_fits(sizes: npt.NDArray[np.int64], room: int, listing: Listing) -> None:
    """Raise SourceError if a sample does not fit in a shard of `room` bytes; name the largest."""
    too_large = np.flatnonzero(sizes > room)
    if len(too_large):
        worst = int(too_large[np.argmax(sizes[too_large])])
        raise SourceError(
            f"{len(too_large)} sample(s) do not fit in a shard of {room + len(END_OF_ARCHIVE)} bytes, the largest "
            f"takes {sizes[worst]}; raise max_shard_bytes (--max-shard-bytes), or give such samples a shard each with "
            "allow_oversized (--allow-oversized)",
            key=listing.keys[worst],
        )

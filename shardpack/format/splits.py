"""The named splits of a dataset: which stored positions are in each (SPEC 5.4).

    train   0:1000, 1250:1300        ranges ascend and are disjoint; a sample is in one split or in none
    val     1000:1250

A look-up bisects the ranges. What is kept is in proportion to them: a packed dataset has one range a split, since no
shard holds samples of two.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import container
from shardpack.format.container import index_error
from shardpack.format.layout import split_of_shard
from shardpack.format.manifest import AppendedSplits, SplitsFile
from shardpack.format.shard_info import ShardInfo
from shardpack.format.split_names import in_split_order
from shardpack.runtime.arrays import Integers

SCHEMA = container.Schema("shardpack-splits", columns={"range": "U64", "split": "U16"}, metadata=frozenset(("names",)))
NO_SPLIT = 0xFFFF  # where each sample has the number of its split: it is in none


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """r ranges of stored positions, ascending and disjoint, each of one split.

    Attributes:
        names: Names of the splits, in their order.
        begin, end: (r) half-open ranges.
        number: (r) number of the split in `names`.
        appended: How samples fall into the splits that were appended later and are in no range; None: into none.
    """

    names: tuple[str, ...]
    begin: Integers
    end: Integers
    number: npt.NDArray[np.uint16]
    appended: AppendedSplits | None = None

    def counts(self) -> dict[str, int]:
        """Return the number of samples in the ranges of each split."""
        totals = np.zeros(len(self.names), np.int64)
        np.add.at(totals, self.number, self.end - self.begin)
        return dict(zip(self.names, totals.tolist(), strict=True))

    def ranges(self, name: str) -> tuple[Integers, Integers]:
        """Return where the ranges of a split begin, and where they end."""
        chosen = self.number == self.names.index(name)
        return self.begin[chosen], self.end[chosen]

    def numbers(self, positions: Integers) -> npt.NDArray[np.uint16]:
        """Return (n) the number of the split in whose ranges each stored position is, or `NO_SPLIT`."""
        if not len(self.begin):
            return np.full(len(positions), NO_SPLIT, np.uint16)
        at = np.searchsorted(self.begin, positions, side="right") - 1
        return np.where((at >= 0) & (positions < self.end[at]), self.number[at], np.uint16(NO_SPLIT))

    def numbers_of_hashes(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
        """Return (n) the number of the split that appended samples in no range fall into, or `NO_SPLIT`.

        Args:
            hashes: (n) hashes of their keys.
        """
        numbers = np.full(len(hashes), NO_SPLIT, np.uint16)
        for name, (begin, end) in ({} if self.appended is None else self.appended.ranges).items():
            numbers[_fall(hashes, begin, end)] = self.names.index(name)
        return numbers

    def are_in_none(self, first: int, count: int) -> npt.NDArray[np.bool_]:
        """Return (count) whether each stored position from `first` on is in no range."""
        numbers = self.numbers(np.arange(first, first + count, dtype=np.int64))
        return np.equal(numbers, NO_SPLIT)

    def extended(self, first: int, more: Splits) -> Splits:
        """Return these splits with those of samples that are appended: position 0 of `more` becomes `first`."""
        names = tuple(in_split_order({*self.names, *more.names}))
        old, new = ([names.index(name) for name in splits.names] for splits in (self, more))
        begin = np.concatenate([self.begin, more.begin + first])
        end = np.concatenate([self.end, more.end + first])
        number = np.concatenate([np.array(old, np.uint16)[self.number], np.array(new, np.uint16)[more.number]])
        joins = np.zeros(len(begin), bool)  # goes on where the range before it ends
        joins[1:] = (begin[1:] == end[:-1]) & (number[1:] == number[:-1])
        ends = np.append(~joins[1:], [True])[: len(begin)]
        return Splits(names, begin[~joins], end[ends], number[~joins], self.appended)

    @classmethod
    def of_runs(cls, runs: Iterable[tuple[str | None, int]]) -> Splits | None:
        """Return the splits of samples that follow one another; None if none of them is in one.

        Args:
            runs: (name of the split, or None; number of samples), from the first stored position on.
        """
        merged: list[tuple[str, int, int]] = []
        position = 0
        for name, count in runs:
            begin, position = position, position + count
            if name is None or not count:
                continue
            if merged and merged[-1][0] == name and merged[-1][2] == begin:
                merged[-1] = (name, merged[-1][1], position)
            else:
                merged.append((name, begin, position))
        names = in_split_order({name for name, _, _ in merged})
        if not names:
            return None
        number_of = {name: number for number, name in enumerate(names)}
        return cls(
            tuple(names),
            np.array([begin for _, begin, _ in merged], np.int64),
            np.array([end for _, _, end in merged], np.int64),
            np.array([number_of[name] for name, _, _ in merged], np.uint16),
        )

    @classmethod
    def of_numbers(
        cls, names: Sequence[str], numbers: npt.NDArray[np.int64], *, appended: AppendedSplits | None = None
    ) -> Splits:
        """Return the splits of samples in any order; those without samples are left out, unless more may be appended.

        Args:
            names: Names of the splits.
            numbers: (n) for each stored position the number of its split in `names`, or a negative one for none.
            appended: How samples will fall into the splits that are appended later.
        """
        used = {names[number] for number in np.unique(numbers[numbers >= 0]).tolist()}
        kept = in_split_order(used if appended is None else used.union(appended.ranges))
        number_of = np.array([kept.index(name) if name in kept else -1 for name in names], np.int64)
        own = np.where(numbers < 0, -1, number_of[numbers])
        edges = np.flatnonzero(np.diff(own, prepend=-2, append=-2))
        begin, end = edges[:-1], edges[1:]
        inside = own[begin] >= 0
        return cls(tuple(kept), begin[inside], end[inside], own[begin[inside]].astype(np.uint16), appended)


def fallen_counts(appended: AppendedSplits, hashes: npt.NDArray[np.uint64]) -> dict[str, int]:
    """Return how many of these keys fall into each split by their hash, where any do."""
    counts = {name: int(np.count_nonzero(_fall(hashes, begin, end))) for name, (begin, end) in appended.ranges.items()}
    return {name: count for name, count in counts.items() if count}


def _fall(hashes: npt.NDArray[np.uint64], begin: int, end: int) -> npt.NDArray[np.bool_]:
    upper = hashes >> np.uint64(32)
    return (upper >= np.uint64(begin)) & (upper < np.uint64(end))


def splits_of_shards(shards: Sequence[ShardInfo]) -> Splits | None:
    """Return the splits that the names of packed shards tell, in the order of the dataset; None if they tell none."""
    return Splits.of_runs((split_of_shard(info.name), info.num_samples) for info in shards)


def encode_splits(splits: Splits) -> list[bytes | memoryview]:
    """Return the file of splits as buffers."""
    return container.encode(
        {
            "range": np.stack([splits.begin, splits.end], axis=1).astype("<u8"),
            "split": splits.number.astype("<u2"),
        },
        container.metadata_of(SCHEMA, names=container.encode_names(splits.names)),
    )


def parse_splits(data: Any, file: SplitsFile, *, num_samples: int, path: str) -> Splits:
    """Return the splits in the bytes of a file, checked against the manifest.

    Args:
        data: The bytes.
        file: What the manifest says of the file.
        num_samples: How many samples are stored.
        path: Path of the file, for errors.

    Raises:
        CorruptIndexError: A rule of SPEC 5.4 is broken, or the manifest names other splits.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    columns, metadata = container.parse(data, name=path, schema=SCHEMA)
    _check_shapes(columns, path)
    if _names(metadata.get("names", "")) != list(file.samples):
        raise index_error("has other splits than the manifest", path)
    bounds, number = columns["range"], columns["split"]
    if number.size and int(number.max()) >= len(file.samples):
        raise index_error(f"has a range of split {int(number.max())}, there are {len(file.samples)}", path)
    edges = bounds.reshape(-1)
    follows = (bounds[1:, 0] == bounds[:-1, 1]) & (number[1:] == number[:-1])
    if (
        (edges.size and int(edges.max()) > num_samples)
        or bool((bounds[:, 0] >= bounds[:, 1]).any())
        or bool((bounds[1:, 0] < bounds[:-1, 1]).any())
        or bool(follows.any())
    ):
        raise index_error(f"has ranges that are empty, overlap, or leave the {num_samples} samples", path)
    signed = bounds.astype(np.int64)
    splits = Splits(tuple(file.samples), signed[:, 0].copy(), signed[:, 1].copy(), number, file.appended)
    if splits.counts() != dict(file.samples):
        raise index_error("has other numbers of samples than the manifest", path)
    return splits


def _check_shapes(columns: Mapping[str, npt.NDArray[Any]], path: str) -> None:
    if columns.keys() != SCHEMA.columns.keys():
        raise index_error("lacks a column of ranges", path)
    ranges, split = columns["range"].shape, columns["split"].shape
    if len(split) != 1 or ranges != (*split, 2):
        raise index_error(f"has ranges of the shape {ranges} for splits of the shape {split}", path)


def _names(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None

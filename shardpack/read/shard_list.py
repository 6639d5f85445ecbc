"""The shards of a dataset as a lazy sequence, and which of them holds a position.

The one place of reading that knows how the manifest lists shards.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
import numpy.typing as npt

from shardpack.format.manifest import Manifest, ShardInfo

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ShardColumns:
    """What the order of an epoch needs to know of all shards.

    Attributes:
        num_samples, num_bytes: (shards) of each.
        starts: (shards + 1) position of each shard's first sample, and the total.
    """

    num_samples: Integers
    num_bytes: Integers
    starts: Integers


class ShardList(Sequence[ShardInfo]):
    """All shards in order. Safe in threads; a shard's object is made when it is asked for."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self.num_samples = manifest.num_samples
        self.num_bytes = manifest.num_bytes

    def __len__(self) -> int:
        return len(self._manifest.records)

    @overload
    def __getitem__(self, number: int) -> ShardInfo: ...

    @overload
    def __getitem__(self, number: slice) -> tuple[ShardInfo, ...]: ...

    def __getitem__(self, number: int | slice) -> ShardInfo | tuple[ShardInfo, ...]:
        if isinstance(number, slice):
            return tuple(self._manifest.shard(one) for one in range(*number.indices(len(self))))
        size = len(self)
        if not -size <= number < size:
            raise IndexError(f"shard {number} is out of range: there are {size}")
        return self._manifest.shard(number + size if number < 0 else number)

    def __iter__(self) -> Iterator[ShardInfo]:
        return map(self._manifest.shard, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (ShardList, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<ShardList: {len(self)} shards>"

    def locate(self, position: int) -> int:
        """Return the number of the shard that holds a position."""
        return bisect_right(self._manifest.starts, position) - 1

    def locate_many(self, positions: Integers) -> Integers:
        """Return (n) the numbers of the shards that hold positions, in any order."""
        return np.searchsorted(self.columns.starts, positions, side="right") - 1

    def first(self, number: int) -> int:
        """Return the position of a shard's first sample; for `len(self)` the total."""
        return self._manifest.starts[number]

    @cached_property
    def columns(self) -> ShardColumns:
        """Counts and lengths of all shards."""
        records = self._manifest.records
        return ShardColumns(
            np.array([record["num_samples"] for record in records], np.int64),
            np.array([record["num_bytes"] for record in records], np.int64),
            np.array(self._manifest.starts, np.int64),
        )

"""`Stream`: one epoch of samples, in stored or shard-shuffled order, read in long ranges.

    order of shards --> runs of neighbouring rows (up to 4 MiB) --> one range a run --> samples

The order is arithmetic (`plan/order.py`); nothing is read to know it.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import index

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.plan.order import SHARD_ORDER, derive_key, permutation
from shardpack.read.gather import gather
from shardpack.read.sample import Sample
from shardpack.read.shard import OpenShard
from shardpack.read.shards import Shards

RUN_BYTES = 4 << 20
SHUFFLES = ("none", "shards")


class Stream:
    """An iterable over one epoch. Iterating again gives the same order, until `set_epoch`.

    Memory: one run of samples, 4 MiB or the largest sample. Holds no handle between epochs;
    an iterator may be dropped at any point.
    """

    def __init__(
        self,
        shards: Shards,
        positions: npt.NDArray[np.int64] | None,
        *,
        shuffle: str,
        seed: int,
        fields: tuple[str, ...] | None,
    ) -> None:
        if shuffle not in SHUFFLES:
            raise OptionError(f"shuffle is {shuffle!r}; choose one of {', '.join(map(repr, SHUFFLES))}")
        self._shards = shards
        self._positions = positions
        self._shuffle = shuffle
        self._seed = _integer("seed", seed)
        self._fields = fields
        self._epoch = 0

    def __len__(self) -> int:
        return self._shards.manifest.num_samples if self._positions is None else len(self._positions)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; epochs are numbered from 0."""
        if _integer("epoch", epoch) < 0:
            raise OptionError(f"epoch is {epoch}; epochs are numbered from 0")
        self._epoch = _integer("epoch", epoch)

    def __iter__(self) -> Iterator[Sample]:
        for number, rows in self._shard_runs():
            shard = self._shards.get(number)
            for run in _runs(shard, rows):
                yield from self._read(shard, run)

    def _shard_runs(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield (shard number, its rows in order), in the order of this epoch."""
        groups = list(self._shards.rows(self._positions))
        if self._shuffle == "shards":
            order = permutation(len(groups), derive_key(SHARD_ORDER, self._seed, self._epoch))
            groups = [groups[i] for i in order.tolist()]
        yield from groups

    def _read(self, shard: OpenShard, rows: npt.NDArray[np.int64]) -> list[Sample]:
        samples = []
        for position in (rows + shard.first).tolist():
            sample = Sample()
            sample.position, sample._key = position, self._shards
            samples.append(sample)
        gather(shard, rows, samples, self._fields, verify=self._shards.verify, streaming=True)
        return samples


def _integer(name: str, number: int) -> int:
    try:
        return index(number)
    except TypeError:
        raise OptionError(f"{name} is {number!r}, expected an integer") from None


def _runs(shard: OpenShard, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield runs of rows whose payloads together stay near `RUN_BYTES`."""
    ends = np.cumsum(shard.index.size.sum(axis=1, dtype=np.int64)[rows])
    first = 0
    while first < len(rows):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + RUN_BYTES, side="right")))
        yield rows[first:stop]
        first = stop

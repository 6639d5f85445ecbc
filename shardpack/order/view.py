"""The samples that a stream orders: a dataset or a view of it, as runs of samples within shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property

import numpy as np
from xxhash import xxh3_64

from shardpack.order.blocks import Segments
from shardpack.order.runs import Runs
from shardpack.runtime.arrays import Integers


class SampleView:
    """The items 0, 1, ... of a stream and their stored positions. Computes nothing until used.

    Attributes:
        positions: Positions of a view in its order, or None for the whole dataset, which includes a
            view of all positions ascending.
    """

    def __init__(
        self, total: int, shards: Callable[[], tuple[Integers, Integers]], positions: Integers | Runs | None = None
    ) -> None:
        """Create a view of n shards.

        Args:
            total: Number of samples in the dataset.
            shards: Returns (n + 1) position of each shard's first sample, with `total` at the end, and
                (n) bytes of each shard. Called by `segments` only.
            positions: Positions of the view, or None for all.
        """
        self._total, self._shards = total, shards
        self.positions = None if positions is None or _is_everything(positions, total) else positions

    def __len__(self) -> int:
        return self._total if self.positions is None else len(self.positions)

    def at(self, items: Integers) -> Integers:
        """Return the positions of items."""
        if isinstance(self.positions, Runs):
            return self.positions.at(items)
        return items if self.positions is None else self.positions[items]

    def segments(self) -> Segments:
        """Return the runs of items in one shard; bytes of a part are computed from the shard's mean per sample."""
        starts, num_bytes = self._shards()
        counts = np.diff(starts)
        if self.positions is None:
            return Segments(counts, num_bytes)
        shard, items = self._parts(starts)
        edges = np.flatnonzero(np.diff(shard, prepend=-1))
        run = np.add.reduceat(items, edges) if len(edges) else items
        return Segments(run, run * (num_bytes[shard[edges]] // counts[shard[edges]]))

    def _parts(self, starts: Integers) -> tuple[Integers, Integers]:
        """Return (shard, number of items) of parts that follow one another; neighbours may be of one shard."""
        if not isinstance(self.positions, Runs) or self.positions.step != 1:
            shards = [np.searchsorted(starts, piece, side="right") - 1 for piece in self._pieces()]
            shard = np.concatenate([np.zeros(0, np.int64), *shards])
            return shard, np.ones(len(shard), np.int64)
        begin, end = self.positions.begin, self.positions.begin + self.positions.count
        first = np.searchsorted(starts, begin, side="right") - 1
        num_parts = np.searchsorted(starts, end - 1, side="right") - first
        run = np.repeat(np.arange(len(begin)), num_parts)
        shard = first[run] + np.arange(len(run)) - (np.cumsum(num_parts) - num_parts)[run]
        return shard, np.minimum(starts[shard + 1], end[run]) - np.maximum(starts[shard], begin[run])

    def _pieces(self) -> Iterable[Integers]:
        assert self.positions is not None
        return self.positions.pieces() if isinstance(self.positions, Runs) else [self.positions]

    @cached_property
    def digest(self) -> str:
        """Hash of a view's positions (SPEC 7.5); "" for the whole dataset."""
        if self.positions is None:
            return ""
        hashed = xxh3_64()
        for piece in self._pieces():
            hashed.update(piece.astype("<i8").tobytes())
        return hashed.hexdigest()


def _is_everything(positions: Integers | Runs, total: int) -> bool:
    if isinstance(positions, Runs):
        return positions.is_everything(total)
    return len(positions) == total and bool((positions == np.arange(total)).all())

"""`SampleView`: what a stream orders, a dataset or a view of it, as runs of samples within shards."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from xxhash import xxh3_64_hexdigest

from shardpack.order.blocks import Segments
from shardpack.runtime.arrays import Integers


class SampleView:
    """Items 0, 1, ... and the positions they stand for. Costs nothing until it is asked.

    Attributes:
        positions: Of a view, in its order; None for the whole dataset, and for a view that lists
            all positions ascending, which is the same.
    """

    def __init__(self, starts: Integers, num_bytes: Integers, positions: Integers | None = None) -> None:
        """Take the position at which each shard begins and, behind them, the number of samples; bytes of each shard."""
        self._starts, self._num_bytes = starts, num_bytes
        total = int(starts[-1])
        everything = positions is not None and len(positions) == total and bool((positions == np.arange(total)).all())
        self.positions = None if everything else positions

    def __len__(self) -> int:
        return int(self._starts[-1]) if self.positions is None else len(self.positions)

    def at(self, items: Integers) -> Integers:
        """Return the positions of items."""
        return items if self.positions is None else self.positions[items]

    def segments(self) -> Segments:
        """Return the runs of items that lie in one shard; bytes of a part of a shard are its mean."""
        counts = np.diff(self._starts)
        if self.positions is None:
            return Segments(counts, self._num_bytes)
        shard = np.searchsorted(self._starts, self.positions, side="right") - 1
        edges = np.flatnonzero(np.diff(shard, prepend=-1))
        run = np.diff(edges, append=len(shard))
        return Segments(run, run * (self._num_bytes[shard[edges]] // counts[shard[edges]]))

    @cached_property
    def digest(self) -> str:
        """Hash of a view's positions (SPEC 7.5); "" for the whole dataset."""
        return "" if self.positions is None else xxh3_64_hexdigest(self.positions.astype("<i8").tobytes())

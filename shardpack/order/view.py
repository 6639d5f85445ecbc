"""The samples that a stream orders: a dataset or a view of it, as runs of samples within shards."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from xxhash import xxh3_64_hexdigest

from shardpack.order.blocks import Segments
from shardpack.runtime.arrays import Integers


class SampleView:
    """The items 0, 1, ... of a stream and their stored positions. Computes nothing until used.

    Attributes:
        positions: Positions of a view in its order, or None for the whole dataset, which includes a
            view of all positions ascending.
    """

    def __init__(
        self, total: int, shards: Callable[[], tuple[Integers, Integers]], positions: Integers | None = None
    ) -> None:
        """Create a view of n shards.

        Args:
            total: Number of samples in the dataset.
            shards: Returns (n + 1) position of each shard's first sample, with `total` at the end, and
                (n) bytes of each shard. Called by `segments` only.
            positions: Positions of the view, or None for all.
        """
        self._total, self._shards = total, shards
        everything = positions is not None and len(positions) == total and bool((positions == np.arange(total)).all())
        self.positions = None if everything else positions

    def __len__(self) -> int:
        return self._total if self.positions is None else len(self.positions)

    def at(self, items: Integers) -> Integers:
        """Return the positions of items."""
        return items if self.positions is None else self.positions[items]

    def segments(self) -> Segments:
        """Return the runs of items in one shard; bytes of a part are computed from the shard's mean per sample."""
        starts, num_bytes = self._shards()
        counts = np.diff(starts)
        if self.positions is None:
            return Segments(counts, num_bytes)
        shard = np.searchsorted(starts, self.positions, side="right") - 1
        edges = np.flatnonzero(np.diff(shard, prepend=-1))
        run = np.diff(edges, append=len(shard))
        return Segments(run, run * (num_bytes[shard[edges]] // counts[shard[edges]]))

    @cached_property
    def digest(self) -> str:
        """Hash of a view's positions (SPEC 7.5); "" for the whole dataset."""
        return "" if self.positions is None else xxh3_64_hexdigest(self.positions.astype("<i8").tobytes())

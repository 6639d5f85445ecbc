"""The samples that a stream orders: a dataset or a view of it, as runs of samples within shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import numpy as np
from xxhash import xxh3_64

from shardpack.order.blocks import Segments
from shardpack.order.listed import Listed
from shardpack.order.positions import Positions
from shardpack.order.runs import Runs
from shardpack.order.visible import Visible
from shardpack.runtime.arrays import Integers


class SampleView:
    """The items 0, 1, ... of a stream and their stored positions. Computes nothing until used.

    Attributes:
        positions: Stored positions in the order of the items; None for all that are stored.
        is_view: Whether these are other samples than all that are visible, ascending.
    """

    def __init__(
        self,
        total: int,
        shards: Callable[[], tuple[Integers, Integers]],
        positions: Positions | None = None,
        *,
        visible: Visible | None = None,
    ) -> None:
        """Create a view of n shards.

        Args:
            total: Number of stored samples in the dataset.
            shards: Returns (n + 1) stored position of each shard's first sample, with `total` at the end, and
                (n) bytes of each shard. Called by `segments` only.
            positions: Stored positions of the view, or None for all that are visible.
            visible: What is visible; None if nothing is deleted.
        """
        self._total, self._shards = total, shards
        self.is_view = positions is not None
        self.positions = visible if positions is None else positions

    def __len__(self) -> int:
        return self._total if self.positions is None else len(self.positions)

    def at(self, items: Integers) -> Integers:
        """Return the stored positions of items."""
        return items if self.positions is None else self.positions.at(items)

    @cached_property
    def most_times(self) -> int:
        """How often the view has the sample that it has most often, at least 1."""
        earlier = self._earlier
        return 1 if earlier is None else int(earlier.max()) + 1

    def repeats(self, items: Integers) -> Integers | None:
        """Return (n) how many earlier items of the view are the sample of each item; None if no sample comes twice."""
        earlier = self._earlier
        return None if earlier is None else earlier[items].astype(np.int64)

    @property
    def _earlier(self) -> Any:
        return self.positions.earlier if isinstance(self.positions, Listed) else None  # the others ascend or descend

    def segments(self) -> Segments:
        """Return the runs of items in one shard; bytes of a part are computed from the shard's mean per sample."""
        starts, num_bytes = self._shards()
        counts = np.diff(starts)
        if self.positions is None:
            return Segments(counts, num_bytes)
        shard, run = _merged(*_parts(self.positions, starts))
        return Segments(run, run * (num_bytes[shard] // counts[shard]))

    @cached_property
    def digest(self) -> str:
        """Hash of a view's stored positions (SPEC 7.5); "" for all visible samples, ascending."""
        if self.positions is None or not self.is_view:
            return ""
        hashed = xxh3_64()
        for piece in self.positions.pieces():
            hashed.update(piece.astype("<i8").tobytes())
        return hashed.hexdigest()


def _parts(positions: Positions, starts: Integers) -> tuple[Integers, Integers]:
    """Return (shard, number of items) of parts that follow one another; neighbours may be of one shard."""
    whole = positions.runs() if isinstance(positions, Visible) else positions
    if isinstance(whole, Runs) and whole.step == 1:
        return _parts_of_runs(whole, starts)
    return _joined(
        _merged(shard, np.ones(len(shard), np.int64))
        for shard in (np.searchsorted(starts, piece, side="right") - 1 for piece in whole.pieces())
    )


def _parts_of_runs(runs: Runs, starts: Integers) -> tuple[Integers, Integers]:
    begin, end = runs.begin, runs.begin + runs.count
    first = np.searchsorted(starts, begin, side="right") - 1
    num_parts = np.searchsorted(starts, end - 1, side="right") - first
    run = np.repeat(np.arange(len(begin)), num_parts)
    shard = first[run] + np.arange(len(run)) - (np.cumsum(num_parts) - num_parts)[run]
    return shard, np.minimum(starts[shard + 1], end[run]) - np.maximum(starts[shard], begin[run])


def _merged(shard: Integers, items: Integers) -> tuple[Integers, Integers]:
    """Return parts with neighbours of one shard joined."""
    edges = np.flatnonzero(np.diff(shard, prepend=-1))
    return shard[edges], np.add.reduceat(items, edges) if len(edges) else items


def _joined(parts: Iterable[tuple[Integers, Integers]]) -> tuple[Integers, Integers]:
    shards, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for shard, count in parts:
        shards.append(shard)
        items.append(count)
    return np.concatenate(shards), np.concatenate(items)

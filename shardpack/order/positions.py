"""The stored positions of a view, in the form that takes the least memory.

ranges             `Runs`     16 bytes a run; a slice of a dataset or a split has one or a few
ascending, dense   `Bitmap`   1 bit for each sample of the range that they are from, and half as much for counts
any other list     `Listed`   4 bytes each, 8 beyond 2^32 samples
what is visible    `Visible`  in proportion to what is deleted
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from shardpack.order.bitmap import Bitmap
from shardpack.order.listed import Listed
from shardpack.order.runs import Runs
from shardpack.order.visible import Visible
from shardpack.runtime.arrays import Integers

_RUN_BYTES, _BITS_PER_BYTE = 24, 5  # of memory: a run; what a byte of a bitmap holds, with its counts


class Positions(Protocol):
    """A sequence of stored positions. Immutable, safe in threads; its pickle is as small as itself."""

    def __len__(self) -> int: ...

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        ...

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        ...

    def holds(self, position: int) -> bool:
        """Return whether a position is one of these. Never a scan."""
        ...

    def pieces(self) -> Iterator[Integers]:
        """Yield all positions in order, some at a time."""
        ...

    def is_ascending(self) -> bool:
        """Return whether each position is larger than the one before it."""
        ...


def compact(positions: Integers) -> Positions:
    """Return a list of positions in the form that takes the least memory."""
    if not len(positions):
        return Runs([], [])
    steps = np.diff(positions)
    step = int(steps[0]) if len(steps) else 1
    if step and bool((steps == step).all()):
        return Runs(positions[:1], [len(positions)], step)
    if not bool((steps > 0).all()):
        return Listed(positions)
    edges = np.flatnonzero(steps != 1) + 1
    run_bytes = _RUN_BYTES * (len(edges) + 1)
    bitmap_bytes = (int(positions[-1]) - int(positions[0])) // _BITS_PER_BYTE
    listed = Listed(positions)
    if run_bytes <= min(bitmap_bytes, listed.values.nbytes):
        begins = np.concatenate(([0], edges))
        return Runs(positions[begins], np.diff(begins, append=len(positions)))
    return Bitmap.of(positions) if bitmap_bytes < listed.values.nbytes else listed


def compact_runs(runs: Runs) -> Positions:
    """Return ascending runs in the form that takes the least memory."""
    if len(runs.begin) <= 1:
        return runs
    span = int(runs.begin[-1] + runs.count[-1] - runs.begin[0])
    if len(runs.begin) * _RUN_BYTES <= span // _BITS_PER_BYTE:
        return runs
    return compact(np.concatenate([np.zeros(0, np.int64), *runs.pieces()]))


def part_of(positions: Positions, items: range) -> Positions:
    """Return the positions of a range of items, 0 <= item < len(positions)."""
    whole = positions.runs() if isinstance(positions, Visible) else positions
    if isinstance(whole, Runs) and (runs := whole.slice(items)) is not None:
        return runs
    return compact(positions.at(np.arange(items.start, items.stop, items.step)))

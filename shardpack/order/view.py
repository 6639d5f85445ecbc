"""The sequence that a stream shuffles: a dataset or a view of it, as runs within shards."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_hexdigest

from shardpack.format.manifest import Manifest, fingerprint
from shardpack.order.blocks import Segments


class Sequence:
    """Items 0, 1, ... and the positions they stand for. Costs nothing but the manifest.

    Attributes:
        positions: Of a view, in its order; None for the whole dataset.
    """

    def __init__(self, manifest: Manifest, positions: npt.NDArray[np.int64] | None) -> None:
        self._manifest, self.positions = manifest, positions

    def __len__(self) -> int:
        return self._manifest.num_samples if self.positions is None else len(self.positions)

    def at(self, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the positions of items."""
        return items if self.positions is None else self.positions[items]

    def segments(self) -> Segments:
        """Return the runs of items that lie in one shard; bytes of a part of a shard are its mean."""
        starts = np.array(self._manifest.starts, np.int64)
        counts = np.diff(starts)
        num_bytes = np.array([record["num_bytes"] for record in self._manifest.records], np.int64)
        if self.positions is None:
            return Segments(counts, num_bytes)
        number = np.searchsorted(starts, self.positions, side="right") - 1
        edges = np.flatnonzero(np.diff(number, prepend=-1))
        run = np.diff(edges, append=len(number))
        return Segments(run, run * (num_bytes[number[edges]] // counts[number[edges]]))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the dataset (SPEC 6.2)."""
        return fingerprint(self._manifest)

    @cached_property
    def view(self) -> str:
        """Hash of a view's positions (SPEC 7.5); "" for the whole dataset."""
        return "" if self.positions is None else xxh3_64_hexdigest(self.positions.astype("<i8").tobytes())

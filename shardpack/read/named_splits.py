"""The named splits of a dataset: ranges of positions, and what fell into splits by the hash of its key (SPEC 5.4)."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.manifest import KeySegment, Manifest
from shardpack.format.splits import NO_SPLIT, Splits, parse_splits
from shardpack.order.runs import Runs
from shardpack.read.segment_file import SegmentFile
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store


class NamedSplits:
    """Which stored positions are in each split, deleted ones included. Safe in threads.

    What fell by its hash is known once the key index of the appended samples is read, and kept as 2 bytes each.
    """

    def __init__(self, store: Store, manifest: Manifest, ranges: Splits) -> None:
        self._store, self._manifest, self._ranges = store, manifest, ranges
        self._first = manifest.num_samples if ranges.appended is None else ranges.appended.of_samples

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the splits, in their order."""
        return self._ranges.names

    def numbers(self, positions: Integers) -> npt.NDArray[np.uint16]:
        """Return (n) the number in `names` of the split that each stored position is in, or `NO_SPLIT`."""
        numbers = self._ranges.numbers(positions)
        may_fall = (positions >= self._first) & (numbers == NO_SPLIT)
        if may_fall.any():
            numbers[may_fall] = self._fallen[positions[may_fall] - self._first]
        return numbers

    def positions(self, name: str) -> Runs:
        """Return the stored positions of a split, ascending."""
        begin, end = self._ranges.ranges(name)
        if self._first < self._manifest.num_samples:
            inside = np.zeros(len(self._fallen) + 2, np.int8)
            inside[1:-1] = self._fallen == self.names.index(name)
            edges = np.diff(inside)
            begin = np.sort(np.concatenate([begin, np.flatnonzero(edges == 1) + self._first]))
            end = np.sort(np.concatenate([end, np.flatnonzero(edges == -1) + self._first]))
        return Runs(begin, end - begin)

    @cached_property
    def _fallen(self) -> npt.NDArray[np.uint16]:
        """Of each sample that was appended later, the split that it fell into; `NO_SPLIT` where a range says it."""
        hashes, begin = [np.zeros(0, np.uint64)], 0
        for segment in self._manifest.key_segments:
            if begin + segment.num_keys > self._first:
                hashes.append(self._hashes(segment)[max(0, self._first - begin) :])
            begin += segment.num_keys
        numbers = self._ranges.numbers_of_hashes(np.concatenate(hashes))
        numbers[~self._ranges.are_in_none(self._first, len(numbers))] = NO_SPLIT
        return numbers

    def _hashes(self, segment: KeySegment) -> npt.NDArray[np.uint64]:
        """Return the hashes of the keys in a segment, in the order of positions. Costs one read."""
        file = SegmentFile(self._store, segment)
        data = memoryview(file.load()).cast("B")
        reader = KeySegmentReader(lambda begin, length: data[begin : begin + length], segment, path=file.path)
        return reader.hashes()


def load_splits(store: Store, manifest: Manifest) -> NamedSplits | None:
    """Return the named splits of a dataset, None if it has none. Costs one read.

    Raises:
        ShardNotFoundError: The file is missing.
        CorruptIndexError: The file is damaged.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    if manifest.splits is None:
        return None
    file = SegmentFile(store, manifest.splits)
    data = file.load()
    if (checksum := crc32c(data)) != manifest.splits.crc32c:
        raise CorruptIndexError(
            f"file of splits is damaged: expected the CRC32C {manifest.splits.crc32c:08x}, got {checksum:08x}; "
            "restore it, or pack again",
            path=file.path,
        )
    ranges = parse_splits(data, manifest.splits, num_samples=manifest.num_samples, path=file.path)
    return NamedSplits(store, manifest, ranges)

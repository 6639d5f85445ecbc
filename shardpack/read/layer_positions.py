"""The column that says which sample of a layer belongs to each stored position of the base (SPEC 5.6).

    a local file           mapped; up to 64 MiB its checksum is compared when it is opened
    a remote one           up to 8 MiB read at once, with its checksum; else the pages that are asked for are read

Where the checksum was not compared, `is_checked` is false, and whoever uses the column compares keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError, ShardNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.format.layer_positions import check_layer_positions, layer_column
from shardpack.format.layout import file_path
from shardpack.format.manifest import LayerRef
from shardpack.read.segment_file import SegmentFile
from shardpack.runtime.arrays import Integers
from shardpack.storage.coalesce import MergeLimits, coalesce
from shardpack.storage.file_map import drop_resident
from shardpack.storage.protocols import Store

MAX_CHECKED_BYTES = 64 << 20  # of a local file: takes 10 ms
MAX_WHOLE_BYTES = 8 << 20  # of a remote file
_HEAD_BYTES = 4 << 10
_WIDTH = 8
_PAGE = 512  # positions
_MERGED = MergeLimits(max_gap_bytes=16 << 10, max_request_bytes=8 << 20)
NONE = -1  # where the layer has no sample


class LayerPositions:
    """Which sample of a layer belongs to each stored position of the base. Safe in threads.

    Attributes:
        is_checked: Whether all of the file is checked, with its checksum, before it is used.
        entries: Once it is open, and checked: for each position of the base the layer's position + 1, or 0. So the hot
            path of `ds[i]` saves a call; a memoryview, an item of which takes 35 ns, a third of numpy's.
    """

    def __init__(
        self,
        store: Store,
        ref: LayerRef,
        *,
        num_samples: int,
        num_layer_samples: int,
        max_checked_bytes: int = MAX_CHECKED_BYTES,
        max_whole_bytes: int = MAX_WHOLE_BYTES,
        max_pages: int = 8192,
    ) -> None:
        """Open the column of a layer; nothing is read yet.

        Args:
            store: Has the folder `.shardpack` of the base.
            ref: The layer.
            num_samples, num_layer_samples: Stored samples of the base and of the layer.
            max_checked_bytes, max_whole_bytes: Longer files are not compared with their checksum, local and remote.
            max_pages: Pages that are kept of a remote file, of 4 KiB each.
        """
        self._store, self._ref, self._file = store, ref, SegmentFile(store, ref.positions)
        self._num_samples, self._num_layer_samples = num_samples, num_layer_samples
        self._path, self._num_bytes, self._max_pages = file_path(ref.positions), ref.positions.num_bytes, max_pages
        self.is_checked = self._num_bytes <= (max_whole_bytes if store.remote else max_checked_bytes)
        self._in_pages = store.remote and not self.is_checked
        self._column: Any = None  # all of the column, as an array
        self.entries: Any = None
        self._range = 0, 0  # of a file that is read in pages: where the column begins, and its entries
        self._pages: dict[int, npt.NDArray[np.uint64]] = {}  # the least recently used first

    def at(self, position: int) -> int:
        """Return the layer's stored position of one sample, or `NONE`."""
        if (entries := self.entries) is not None:
            return entries[position] - 1 if position < len(entries) else NONE
        return int(self.of(np.array([position], np.int64))[0])

    def of(self, positions: Integers) -> Integers:
        """Return (n) the layer's stored position of each sample, or `NONE`. Pages are fetched together.

        Raises:
            ShardNotFoundError: The file is missing.
            CorruptIndexError: The file is damaged.
        """
        if self._in_pages:
            entries = self._paged(positions)
        else:
            column = self._column
            if column is None:
                column = self._open()
            entries = column.take(positions, mode="clip")
            if len(positions) and len(column) < self._num_samples:
                entries[positions >= len(column)] = 0
        if not self.is_checked:
            self._check(entries)
        return entries.view(np.int64) - 1

    def close(self) -> None:
        """Release the map, or what was read."""
        self.entries = self._column = None
        self._file = SegmentFile(self._store, self._ref.positions)
        self._pages, self._range = {}, (0, 0)

    def _open(self) -> npt.NDArray[np.uint64]:
        data = self._file.load(0, self._num_bytes)
        expected = self._ref.positions.crc32c
        if self.is_checked and (checksum := crc32c(data)) != expected:
            raise CorruptIndexError(
                f"positions of the layer {self._ref.location!r} are damaged: expected the CRC32C {expected:08x}, "
                f"got {checksum:08x}; restore the file, or attach the layer again",
                path=self._path,
            )
        begin, count = self._column_in(data)
        column: npt.NDArray[np.uint64] = np.frombuffer(data, "<u8", count, begin)
        if self.is_checked:
            self._check(column)
            drop_resident(getattr(data, "obj", None))  # the checks read all pages; look-ups need only a few
            self.entries = memoryview(column)
        self._column = column
        return column

    def _column_in(self, head: Any) -> tuple[int, int]:
        """Return where the column begins, and the number of its entries, given the first bytes of the file."""
        column = layer_column(head, num_bytes=self._num_bytes, num_samples=self._num_samples, path=self._path)
        return column.begin, column.shape[0]

    def _check(self, entries: npt.NDArray[np.uint64]) -> None:
        check_layer_positions(entries, layer_samples=self._num_layer_samples, path=self._path)

    # Pages of a long remote file

    def _paged(self, positions: Integers) -> npt.NDArray[np.uint64]:
        if not self._range[1]:
            self._range = self._column_in(self._file.load(0, min(_HEAD_BYTES, self._num_bytes)))
        count = self._range[1]
        inside = positions < count
        numbers = np.minimum(positions, count - 1) // _PAGE
        wanted, owner = np.unique(numbers, return_inverse=True)  # (w) pages; (n) the page of each position
        pages = {number: page for number in wanted.tolist() if (page := self._pages.pop(number, None)) is not None}
        missing = np.setdiff1d(wanted, np.array(list(pages), np.int64))
        if len(missing):
            pages.update(self._fetched(missing))
        self._pages.update(pages)
        for old in list(self._pages)[: max(0, len(self._pages) - self._max_pages)]:
            self._pages.pop(old, None)
        rows = np.zeros((len(wanted), _PAGE), np.uint64)
        for row, number in enumerate(wanted.tolist()):
            rows[row, : len(pages[number])] = pages[number]
        entries: npt.NDArray[np.uint64] = np.where(inside, rows[owner.reshape(-1), positions % _PAGE], np.uint64(0))
        return entries

    def _fetched(self, missing: Integers) -> dict[int, npt.NDArray[np.uint64]]:
        """Return pages by number; neighbours are read in one range, all ranges concurrently."""
        begin, count = self._range
        starts = begin + missing * (_WIDTH * _PAGE)
        sizes = np.minimum(_WIDTH * _PAGE, begin + _WIDTH * count - starts)
        merged = coalesce(starts, sizes, limits=_MERGED)
        try:
            buffers = self._store.get_ranges(self._path, starts=merged.starts.tolist(), lengths=merged.lengths.tolist())
        except ShardNotFoundError as error:
            raise self._file.missing() from error
        begins = starts - merged.starts[merged.owner]
        return {
            number: np.frombuffer(buffers[at], "<u8", size // _WIDTH, offset)
            for number, at, offset, size in zip(
                missing.tolist(), merged.owner.tolist(), begins.tolist(), sizes.tolist(), strict=True
            )
        }

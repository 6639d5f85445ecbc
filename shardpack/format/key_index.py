"""The key index: from a key's hash to the positions it may have (SPEC 5.3).

    chapter, directory   first hash and CRC32C of the level below: see `paged.py`
    entry    (n, 2)      hash, position; sorted by hash, then position; 512 per page

A hash only narrows the search: the caller compares the key itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from shardpack.errors import UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c
from shardpack.format.manifest import KeySegment
from shardpack.format.naming import key_bytes
from shardpack.format.paged import PAGE_ROWS, PagedFile, Range, ReadRange, encode_paged

HASH_NAME = "xxh3_64"
SCHEMA = container.Schema(
    "shardpack-keys",
    columns={"chapter": "U64", "directory": "U64", "entry": "U64"},
    metadata=frozenset(("hash", "page_rows", "chapter_rows")),
)
PAGE_BYTES = 16 * PAGE_ROWS
MAX_PAGES_KEPT = 4096  # per segment: 32 MiB
UNSURE, ABSENT = -1, -2  # instead of a position

hash_key = xxh3_64_intdigest  # XXH3, 64 bits, seed 0, of the key's UTF-8


# --- Writing -----------------------------------------------------------------------------------


def hash_keys(keys: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the hashes of keys, in their order."""
    return np.fromiter((hash_key(key_bytes(key)) for key in keys), np.uint64)


def encode_key_index(hashes: npt.NDArray[np.uint64]) -> list[bytes | memoryview]:
    """Return a segment as buffers; `hashes[i]` belongs to position i of the segment.

    Memory: 24 bytes per key in addition to `hashes`.
    """
    order = np.argsort(hashes, kind="stable")
    entry = np.empty((len(hashes), 2), "<u8")
    np.take(hashes, order, out=entry[:, 0])
    entry[:, 1] = order
    starts = range(0, len(entry), PAGE_ROWS)
    directory = np.empty((len(starts), 2), "<u8")
    directory[:, 0] = entry[::PAGE_ROWS, 0]
    directory[:, 1] = [crc32c(entry[start : start + PAGE_ROWS].data) for start in starts]
    return encode_paged(SCHEMA, directory, entry, {"hash": HASH_NAME})


def repeated_hashes(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the positions whose hash occurs more than once, grouped by hash, ascending in each group."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    equal = ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(hashes), bool)
    repeated[1:] |= equal
    repeated[:-1] |= equal
    return order[repeated]


# --- Reading -----------------------------------------------------------------------------------


class KeySegmentReader(PagedFile[KeySegment, tuple[memoryview, memoryview]]):
    """One segment of the key index; a page is (hashes, positions). Thread-safe."""

    def __init__(self, load: ReadRange, segment: KeySegment, *, path: str) -> None:
        super().__init__(load, segment, SCHEMA, num_rows=segment.num_keys, max_pages=MAX_PAGES_KEPT, path=path)

    def find_fast(self, hashed: int) -> int:
        """Return the position of the only key with this hash; `ABSENT` if none has it, `UNSURE`: then call `find`.

        The fast path of a look-up by key, for pages that are cached: half the time of `find`.
        """
        if not self._pages:
            return UNSURE
        page = self._pages.get(self.page_of(hashed))
        if page is None:
            return UNSURE
        hashes, positions = page
        row = bisect_left(hashes, hashed)
        # Equal hashes at the end of a page may continue on the next.
        if row + 1 >= len(hashes):
            return UNSURE
        if hashes[row] != hashed:
            return ABSENT
        if hashes[row + 1] == hashed:
            return UNSURE
        position: int = positions[row]
        return position

    def find(self, hashed: int) -> list[int]:
        """Return all positions whose key has this hash, ascending; usually none or one.

        Raises:
            CorruptIndexError: The segment is damaged.
            UnsupportedVersionError: The segment was written by a newer version of the format.
        """
        result: list[int] = []
        for number in self._pages_of(hashed):
            hashes, positions = self.page(number)
            row = bisect_left(hashes, hashed)
            while row < len(hashes) and hashes[row] == hashed:
                result.append(positions[row])
                row += 1
        return result

    def match(self, hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield (numbers of hashes, positions whose key has them), page by page: `find` for many at once.

        Args:
            hashes: Ascending, all different.

        Raises:
            CorruptIndexError: The segment is damaged.
        """
        begin = 0
        while begin < len(hashes):
            number = self.page_of(int(hashes[begin]))
            end, next_first = len(hashes), None
            if number + 1 < self.num_pages:
                next_first = self.first_of(number + 1)
                end = int(hashes.searchsorted(np.uint64(next_first)))
            wanted = hashes[begin:end]
            held, positions = map(np.asarray, self.page(number))
            first = held.searchsorted(wanted)
            counts = held.searchsorted(wanted, side="right") - first
            if counts.any():  # most pages hold none of keys that are new
                owner = np.repeat(np.arange(begin, end), counts)
                rows = np.arange(len(owner)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
                yield owner, positions[rows].astype(np.int64)
            begin = end
            if next_first is not None and begin < len(hashes) and hashes[begin] == next_first:
                found = self.find(next_first)  # may go on over several pages
                yield np.full(len(found), begin), np.array(found, np.int64)
                begin += 1

    def hashes(self) -> npt.NDArray[np.uint64]:
        """Return (n) the hash of each key, in the order of positions; reads all pages.

        Raises:
            CorruptIndexError: The segment is damaged, or lacks a position.
        """
        self.header()  # compares the number of keys with the file, before memory is taken for them
        found, seen = np.zeros(self.segment.num_keys, np.uint64), np.zeros(self.segment.num_keys, bool)
        for page in range(self.num_pages):
            hashes, positions = (np.array(column, np.uint64) for column in self._parse(page, self._page_bytes(page)))
            found[positions] = hashes
            seen[positions] = True
        if not seen.all():
            raise self._broken("does not hold every position once")
        return found

    def check(self) -> None:
        """Check that each page is sound, hashes and positions ascend, and each position occurs once.

        Raises:
            CorruptIndexError: One of these conditions is violated.
        """
        seen = np.zeros(self.segment.num_keys, bool)
        last: tuple[int, int] | None = None
        for page in range(self.num_pages):
            hashes, positions = (np.array(column, np.uint64) for column in self._parse(page, self._page_bytes(page)))
            ascending = (hashes[1:] > hashes[:-1]) | ((hashes[1:] == hashes[:-1]) & (positions[1:] > positions[:-1]))
            first = int(hashes[0]), int(positions[0])
            if not ascending.all() or self.first_of(page) != first[0] or (last is not None and first <= last):
                raise self._broken("is not sorted")
            last = int(hashes[-1]), int(positions[-1])
            seen[positions] = True
        if not seen.all():
            raise self._broken("does not hold every position once")

    def _pages_of(self, value: int) -> Iterator[int]:
        """Yield the pages that a hash may be on: a run of equal hashes may continue over page ends."""
        page = self.page_of(value)
        yield page
        while page + 1 < self.num_pages and self.first_of(page + 1) == value:
            page += 1
            yield page

    def _extent(self, page: int) -> Range:
        begin = page * PAGE_BYTES
        return begin, min(PAGE_BYTES, 16 * self.segment.num_keys - begin)

    def _parse(self, number: int, data: memoryview) -> tuple[memoryview, memoryview]:  # noqa: ARG002 - pages are alike
        entry = np.frombuffer(data, "<u8").reshape(-1, 2)
        highest = int(entry[:, 1].max())
        if highest >= self.segment.num_keys:
            raise self._broken(f"points to position {highest} of {self.segment.num_keys}")
        # Memoryviews for scalar access: an item takes 40 ns, a third of numpy's.
        return memoryview(entry[:, 0]), memoryview(entry[:, 1])

    def _check_header(self, header: container.ContainerHeader) -> None:
        super()._check_header(header)
        if header.metadata.get("hash") != HASH_NAME:
            raise UnsupportedVersionError(
                f"key index has hashes of the kind {header.metadata.get('hash', '')[:20]!r}, which this version of "
                "shardpack does not know; upgrade shardpack to the version that wrote it, or later",
                path=self.path,
            )
        shape = header.columns["entry"].shape
        if shape != (self.segment.num_keys, 2):
            raise self._broken(
                f"does not match its dataset: expected {self.segment.num_keys} keys, got a column of shape {shape}"
            )


class KeyIndex:
    """All segments of a dataset's key index as one: a look-up probes each. Thread-safe.

    `needed` and `put` identify a range by the number of its segment.
    """

    def __init__(self, segments: Sequence[KeySegmentReader]) -> None:
        self._segments = tuple(segments)
        self._starts = list(accumulate((s.segment.num_keys for s in segments), initial=0))
        # With several segments, what one says of a hash does not tell whether its key is the only one.
        self._only = self._segments[0] if len(self._segments) == 1 else None

    def find_fast(self, hashed: int) -> int:
        """Return the stored position of the only key with this hash, or a negative number: then call `find`."""
        if self._only is not None:
            return self._only.find_fast(hashed)
        found = UNSURE
        for start, segment in zip(self._starts, self._segments, strict=False):
            position = segment.find_fast(hashed)
            if position == UNSURE or (position >= 0 and found >= 0):
                return UNSURE
            if position >= 0:
                found = start + position
        return found

    def find(self, hashed: int) -> list[int]:
        """Return all stored positions whose key has this hash, ascending; usually none or one."""
        return [
            start + position
            for start, segment in zip(self._starts, self._segments, strict=False)
            for position in segment.find(hashed)
        ]

    def match(self, hashes: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (numbers of hashes, stored positions whose key has them), in no order; `hashes` ascend and differ."""
        parts = [
            (numbers, positions + start)
            for start, segment in zip(self._starts, self._segments, strict=False)
            for numbers, positions in segment.match(hashes)
        ]
        empty = np.zeros(0, np.int64)
        return np.concatenate([empty, *(n for n, _ in parts)]), np.concatenate([empty, *(p for _, p in parts)])

    def needed(self, hashes: npt.NDArray[np.uint64]) -> list[tuple[int, Range]]:
        """Return (segment number, range) of all that `PagedFile.needed` returns for these hashes."""
        return [(n, wanted) for n, segment in enumerate(self._segments) for wanted in segment.needed(hashes)]

    def put(self, segment: int, begin: int, data: Any) -> None:
        """Take the bytes of a range that was `needed`."""
        self._segments[segment].put(begin, data)

    def check(self) -> None:
        """Check every page of every segment.

        Raises:
            CorruptIndexError: As `KeySegmentReader.check`.
        """
        for segment in self._segments:
            segment.check()

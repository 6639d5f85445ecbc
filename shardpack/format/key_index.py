"""The key index: which positions a key may have, in segments of checksummed pages (SPEC 5.3).

    chapter, directory   first hash and CRC32C of what is below: see `paged`
    entry    (n, 2)      hash, position; sorted by hash, then position; 512 a page

Hashes only narrow the search: whoever looks a key up compares the key itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

from shardpack.errors import UnsupportedVersionError
from shardpack.format import container
from shardpack.format.checksum import crc32c
from shardpack.format.paged import PAGE_ROWS, Load, PagedFile, Range, Segment, encode_paged, merged

HASH_NAME = "xxh3_64"
SCHEMA = container.Schema(
    "shardpack-keys",
    columns={"chapter": "U64", "directory": "U64", "entry": "U64"},
    metadata=frozenset(("hash", "page_rows", "chapter_rows")),
)
PAGE_BYTES = 16 * PAGE_ROWS
MAX_PAGES_KEPT = 4096  # of a segment: 32 MiB

hash_key = xxh3_64_intdigest  # XXH3, 64 bits, seed 0, of the key's UTF-8


@dataclass(frozen=True, slots=True)
class KeySegment(Segment):
    """One segment of the key index, as the manifest names it."""

    num_keys: int


def hash_keys(keys: Iterable[bytes], count: int) -> npt.NDArray[np.uint64]:
    """Return the hashes of `count` keys, in their order."""
    return np.fromiter(map(xxh3_64_intdigest, keys), np.uint64, count)


def encode_key_index(hashes: npt.NDArray[np.uint64]) -> list[bytes | memoryview]:
    """Return a segment as buffers; `hashes[i]` belongs to position i of the segment.

    Memory: 24 bytes a key on top of `hashes`.
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


class KeySegmentReader:
    """One segment of the key index. Safe in threads."""

    def __init__(self, load: Load, segment: KeySegment, *, path: str) -> None:
        self.segment = segment
        self._file = PagedFile(load, segment, SCHEMA, num_rows=segment.num_keys, path=path)
        self._pages: dict[int, tuple[memoryview, memoryview]] = {}  # hashes, positions

    def unique_position(self, hashed: int) -> int:
        """Return the position of the only key with this hash, or -1 where `positions` must tell.

        The hot path of a look-up by key: half of what `positions` takes.
        """
        if not self._pages:
            return -1
        number = self._file.page_of(hashed)
        page = self._pages.get(number)
        if page is None:
            return -1
        hashes, positions = page
        row = bisect_left(hashes, hashed)
        # Equal hashes at the end of a page may go on in the next.
        if row + 1 >= len(hashes) or hashes[row] != hashed or hashes[row + 1] == hashed:
            return -1
        position: int = positions[row]
        return position

    def positions(self, hashed: int) -> list[int]:
        """Return all positions whose key has this hash, ascending; usually none or one.

        Raises:
            CorruptIndexError, UnsupportedVersionError: The segment is damaged, or newer than this code.
        """
        found: list[int] = []
        for number in self._pages_of(hashed):
            hashes, positions = self._page(number)
            row = bisect_left(hashes, hashed)
            while row < len(hashes) and hashes[row] == hashed:
                found.append(positions[row])
                row += 1
        return found

    def needed(self, hashes: npt.NDArray[np.uint64]) -> list[Range]:
        """Return which ranges of the file to fetch and `put` before these hashes are looked up.

        What is returned is the next step only: ask again, until nothing is.
        """
        if wanted := self._file.directory_needed(hashes):
            return wanted
        pages = {page for hashed in hashes.tolist() for page in self._pages_of(hashed)}
        ranges = (self._file.page_range(*self._extent(page)) for page in pages if page not in self._pages)
        return merged(wanted for wanted in ranges if not self._file.is_held(*wanted))

    def put(self, begin: int, data: Any) -> None:
        """Take a range that was `needed`."""
        self._file.put(begin, data)

    def check(self) -> None:
        """Check every page, and that each position stands there once, hashes and positions ascending.

        Raises:
            CorruptIndexError: One of these does not hold.
        """
        seen = np.zeros(self.segment.num_keys, bool)
        last: tuple[int, int] | None = None
        for page in range(self._file.num_pages):
            hashes, positions = (np.array(column, np.uint64) for column in self._parsed(page))
            ascending = (hashes[1:] > hashes[:-1]) | ((hashes[1:] == hashes[:-1]) & (positions[1:] > positions[:-1]))
            first = int(hashes[0]), int(positions[0])
            if not ascending.all() or self._file.first_of(page) != first[0] or (last is not None and first <= last):
                raise self._file.broken("is not sorted")
            last = int(hashes[-1]), int(positions[-1])
            seen[positions] = True
        if not seen.all():
            raise self._file.broken("does not hold every position once")

    def _pages_of(self, hashed: int) -> Iterator[int]:
        """Yield the pages on which a hash may stand: a run of equal ones may go on over their ends."""
        page = self._file.page_of(hashed)
        yield page
        while page + 1 < self._file.num_pages and self._file.first_of(page + 1) == hashed:
            page += 1
            yield page

    def _extent(self, page: int) -> Range:
        begin = page * PAGE_BYTES
        return begin, min(PAGE_BYTES, 16 * self.segment.num_keys - begin)

    def _page(self, number: int) -> tuple[memoryview, memoryview]:
        page = self._pages.get(number)
        if page is None:
            page = self._parsed(number)
            while len(self._pages) >= MAX_PAGES_KEPT:
                self._pages.pop(next(iter(self._pages)), None)
            self._pages[number] = page
        return page

    def _parsed(self, number: int) -> tuple[memoryview, memoryview]:
        self._check_header()
        entry = np.frombuffer(self._file.page(number, *self._extent(number)), "<u8").reshape(-1, 2)
        beyond = int(entry[:, 1].max())
        if beyond >= self.segment.num_keys:
            raise self._file.broken(f"points to position {beyond} of {self.segment.num_keys}")
        # Views for scalar access: an item takes 40 ns, a third of numpy's.
        return memoryview(entry[:, 0]), memoryview(entry[:, 1])

    def _check_header(self) -> None:
        header = self._file.header()
        if header.metadata.get("hash") != HASH_NAME:
            raise UnsupportedVersionError(
                f"key index has hashes of the kind {header.metadata.get('hash', '')[:20]!r}, which this version of "
                "shardpack does not know; upgrade shardpack to the version that wrote it, or later",
                path=self._file.path,
            )
        if header.columns["entry"].shape != (self.segment.num_keys, 2):
            raise self._file.broken(
                f"does not match its dataset: expected {self.segment.num_keys} keys, "
                f"got a column of shape {header.columns['entry'].shape}"
            )


class KeyIndex:
    """All segments of a dataset's key index as one: a look-up probes each. Safe in threads.

    `needed` and `put` name a segment by its number, beside the range.
    """

    def __init__(self, segments: Sequence[KeySegmentReader]) -> None:
        self._segments = tuple(segments)
        self._starts = list(accumulate((s.segment.num_keys for s in segments), initial=0))
        # With several segments, "not in this one" and "not known" look alike: `positions` must tell.
        self._only = self._segments[0] if len(self._segments) == 1 else None

    def unique_position(self, hashed: int) -> int:
        """Return the stored position of the only key with this hash, or -1 where `positions` must tell."""
        return -1 if self._only is None else self._only.unique_position(hashed)

    def positions(self, hashed: int) -> list[int]:
        """Return all stored positions whose key has this hash, ascending; usually none or one."""
        return [
            start + position
            for start, segment in zip(self._starts, self._segments, strict=False)
            for position in segment.positions(hashed)
        ]

    def needed(self, hashes: npt.NDArray[np.uint64]) -> list[tuple[int, Range]]:
        """Return (segment number, range) of what to fetch together and `put` before these hashes are looked up.

        What is returned is the next step only: ask again, until nothing is.
        """
        return [(n, wanted) for n, segment in enumerate(self._segments) for wanted in segment.needed(hashes)]

    def put(self, segment: int, begin: int, data: Any) -> None:
        """Take a range that was `needed`."""
        self._segments[segment].put(begin, data)

    def check(self) -> None:
        """Check every page of every segment; see `KeySegmentReader.check`."""
        for segment in self._segments:
            segment.check()


def repeated_hashes(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Return the positions whose hash occurs more than once, grouped by hash, ascending in a group."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    equal = ordered[1:] == ordered[:-1]
    repeated = np.zeros(len(hashes), bool)
    repeated[1:] |= equal
    repeated[:-1] |= equal
    return order[repeated]

"""Index a tar by range requests, skipping payloads where that saves much.

    read straight through, in growing ranges       while members are small; all payloads get checksums
    then scan from header to header                once that saves a quarter of the bytes; no payload does

Each header says where the next one is, so one scan is a chain of requests that wait for each other. To have
many requests in flight, more scanners start further on, each at the first block of its stretch that looks
like a header. That is a guess, as a payload may contain a tar. What such a speculative scanner finds counts
only once the chain from the start reaches an offset at which the scanner was between two members. What
follows there does not depend on what precedes it, so both would find the same members, and the chain is
handed over to that scanner.

    chain from the start     |--o--o--o--o--o>
    speculative scanners     .            ..o--o--o--o>      ..o--o--o>    .. searching for a header
                                          ^ arrives here: hand-over
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.format.checksum import crc32c
from shardpack.format.tar_header import padded
from shardpack.format.tar_parser import TarParser
from shardpack.index.grouping import MAX_MEMBERS, Grouping, IndexedTar
from shardpack.index.scanner import Scanner, Tar, end_of
from shardpack.index.tar_scan import TarScan
from shardpack.runtime.progress import Advance, no_advance
from shardpack.storage.protocols import Store


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """How a tar is scanned by ranges.

    Attributes:
        scanners: Number of requests in flight at once.
        request_bytes: Cost of a request, expressed in bytes. 256 requests in flight at a latency of 30 ms are
            8,500 per second; meanwhile a link of 2.5 Gbit/s carries 36 KiB per request. A store whose requests
            cost more sets a larger `merge_limits.max_gap_bytes`.
        min_saved: Fraction of the bytes that skipping payloads must save to be worth the lost checksums.
        first_bytes, straight_bytes: Length of the first and of the longest range while reading straight through.
        measured_rounds: Requests of the first scanner before others start; they show how far apart headers are.
        min_headers, max_headers: Headers per stretch: enough to be worth the search, few enough for memory.
        max_stride_bytes: Largest distance between headers at which other scanners start; with a larger one,
            their searches would read too much.
        searched_strides: How far a scanner searches for its first header, in distances between headers.
        max_members: Largest number of members in a tar.
    """

    scanners: int = 16
    request_bytes: int = 32 << 10
    min_saved: float = 0.25
    first_bytes: int = 64 << 10
    straight_bytes: int = 8 << 20
    measured_rounds: int = 4
    min_headers: int = 64
    max_headers: int = 4096
    max_stride_bytes: int = 4 << 20
    searched_strides: int = 4
    max_members: int = MAX_MEMBERS


USUAL_LIMITS = ScanLimits()


def scan_headers(
    store: Store,
    name: str,
    *,
    ignore: Sequence[str],
    checksums: bool | None = None,
    limits: ScanLimits = USUAL_LIMITS,
    advance: Advance = no_advance,
) -> IndexedTar:
    """Return the index of a tar in a store: that of `scan_whole`, but possibly without checksums.

    Where payloads are large, costs a request for the tar's length and about one per header; else ranges
    of up to 8 MiB. Memory: the index, and one range, or one small range per scanner.

    Args:
        store: Store that holds the tar.
        name: Name of the tar.
        ignore: Patterns of members to ignore.
        checksums: True reads everything; False and None skip payloads where that saves much.
        limits: How many requests to make at once, and what each costs.
        advance: Called with the bytes done since the previous call; skipped bytes count as done.

    Raises:
        CorruptShardError: The object is not a plain tar, is damaged or truncated, has no samples, or a
            sample has a field twice.
        ShardNotFoundError: The tar is missing.
        StaleIndexError: The tar was replaced during the scan.
        StorageError: The tar cannot be read.
    """
    size = store.size(name)
    tar = Tar(name, size, max(limits.request_bytes, store.merge_limits.max_gap_bytes))
    scan = TarScan(name, ignore=ignore, max_members=limits.max_members)
    position, checksum, length = 0, 0, limits.first_bytes
    saved = extent = 0  # bytes that skipping payloads would have saved so far; end of the last payload
    while position < size:
        data = store.get_range(name, start=position, length=min(length, size - position))
        position += len(data)
        checksum = crc32c(data, checksum)
        for member in scan.feed(data):
            saved += max(0, member.size - tar.request_bytes)
            extent = member.data_offset + member.size
        advance(len(data))
        after_end = size - position if scan.ended else 0
        worth_skipping = saved + after_end > limits.min_saved * max(position + after_end, extent)
        if not checksums and position < size and worth_skipping:
            end_of_data = _SpeculativeScan(store, tar, limits, scan.grouping, advance).run(scan.parser)
            return scan.grouping.finish(end_of_data, num_bytes=size, shard_crc32c=None)
        length = min(2 * length, limits.straight_bytes)
    return scan.finish(num_bytes=size, shard_crc32c=checksum)


class _SpeculativeScan:
    """The scanners of one tar, in rounds: each round makes one request per scanner, all at once.

    The first of `_scanners` is the chain from the start; only its members are grouped.
    """

    def __init__(self, store: Store, tar: Tar, limits: ScanLimits, grouping: Grouping, advance: Advance) -> None:
        self._store, self._tar, self._limits = store, tar, limits
        self._grouping, self._advance = grouping, advance
        self._scanners: deque[Scanner] = deque()
        self._reported = 0  # bytes that `advance` was called with
        self._stretch = 0  # bytes per scanner; 0 until measured
        self._stride = 0  # measured distance between headers
        self._planned = 0  # end of the last stretch that has a scanner
        self._handed_over = self._wasted = 0  # numbers of scanners

    def run(self, parser: TarParser) -> int:
        """Follow the chain from the parser's position to the end of the archive; return the end of data."""
        start = self._reported = parser.position
        self._scanners.append(Scanner(self._tar, begin=start, stop=self._tar.size, parser=parser))
        rounds = 0
        while not self._scanners[0].done:
            if rounds == self._limits.measured_rounds:
                self._plan_stretches((self._scanners[0].position - start) // rounds)
            self._add_scanners()
            active = [scanner for scanner in self._scanners if not scanner.done]
            starts, lengths = zip(*(scanner.next_range() for scanner in active), strict=True)
            buffers = self._store.get_ranges(self._tar.name, starts=starts, lengths=lengths)
            for scanner, data in zip(active, buffers, strict=True):
                scanner.feed(data)
            self._follow_chain()
            self._report()
            rounds += 1
        self._advance(self._tar.size - self._reported)
        last = self._scanners[0].parser
        assert last is not None
        return last.close()

    def _plan_stretches(self, stride: int) -> None:
        limits = self._limits
        if 0 < stride <= limits.max_stride_bytes and limits.scanners > 1:
            share = (self._tar.size - self._scanners[0].position) // limits.scanners
            self._stretch = padded(min(max(share, limits.min_headers * stride), limits.max_headers * stride))
            self._stride = stride

    def _add_scanners(self) -> None:
        if not self._stretch or self._wasted > 2 * self._handed_over + self._limits.scanners:
            return
        if len(self._scanners) == 1:
            self._planned = max(self._planned, padded(self._scanners[0].position) + self._stretch)
        search_bytes = self._limits.searched_strides * self._stride
        while len(self._scanners) < self._limits.scanners and self._planned + self._stretch // 2 < self._tar.size:
            begin, self._planned = self._planned, self._planned + self._stretch
            self._scanners.append(Scanner(self._tar, begin=begin, stop=self._planned, search_bytes=search_bytes))

    def _follow_chain(self) -> None:
        """Group the members of the chain; hand the chain over to each scanner that it reaches."""
        scanners, grouped = self._scanners, 0
        while grouped < len(scanners[0].members):
            member = scanners[0].members[grouped]
            grouped += 1
            self._grouping.add(member)
            end = end_of(member)
            while len(scanners) > 1 and end not in scanners[1].ends and end >= scanners[1].stop:
                del scanners[1]
                self._wasted += 1
            if len(scanners) > 1 and end in scanners[1].ends:
                scanners.popleft()
                grouped = scanners[0].ends[end]
                scanners[0].stop = self._tar.size
                self._handed_over += 1
        if scanners[0].error is not None:
            raise scanners[0].error
        scanners[0].members.clear()
        scanners[0].ends.clear()

    def _report(self) -> None:
        covered = sum(scanner.position - scanner.begin for scanner in self._scanners if scanner.parser is not None)
        done = min(max(self._scanners[0].begin + covered, self._reported), self._tar.size)
        self._advance(done - self._reported)
        self._reported = done

"""Index a tar by ranges, without reading payloads that are worth skipping.

    read straight through, in growing ranges     while members are small: all payloads get checksums
    hop from header to header                    once that would save a quarter of the bytes: none do

A hop needs the header before it, so hops within a tar are a chain. To wait for many at once, `Lane`s
begin further on, each at the first block of its stretch that looks like a header. That may be a lie
(a tar within a payload), so nothing of a lane counts until the chain from the start arrives at a
place where the lane was between two members: what follows a place between members depends on
nothing before it, so from there on both must find the same, and the lane takes over.

    first lane    |--o--o--o--o--o>                             chain from the start
    others        .            ..o--o--o--o>      ..o--o--o>    .. searched for a header
                                 ^ arrives here: takes over
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.tar_header import BLOCK, MAGIC, checksum_matches, padded
from shardpack.format.tar_parser import Member, TarParser
from shardpack.index.header_scan import Grouping, IndexedTar
from shardpack.storage.protocols import Store

# What a request is worth in bytes. 256 under way at a latency of 30 ms are 8,500 a second; in that time a
# link of 2.5 Gbit/s carries 36 KiB for each. Stores with a higher price of their own have theirs.
REQUEST_BYTES = 32 << 10
MIN_SAVED = 0.25  # of all bytes: what a hop through the tar must save to be worth the lost checksums
FIRST_BYTES = 64 << 10
STRAIGHT_BYTES = 8 << 20

WINDOW_BYTES = 4 << 10  # read at a header, until it is known how much stands together there
MIN_WINDOW_BYTES, MAX_WINDOW_BYTES = 1 << 10, 64 << 10
NEAR_BYTES = 4 << 10  # members this small are read with the header behind them
MAX_READ_ON_BYTES = 1 << 20
REMEMBERED = 8  # places of headers whose length the next window is judged by

LANES = 16
SEARCHED_STRIDES = 4  # how far a lane looks for its first header
SOUNDING = 4  # hops before lanes are planned: they show how far apart headers are
LANE_HOPS, MOST_LANE_HOPS = 64, 4096  # of a lane: at least, so that the search pays; at most, for memory
MAX_STRIDE_BYTES = 4 << 20  # beyond that a search would read more than it saves time
SEARCH_BYTES = 16 << 10  # at first, then up to half of what lies between headers

Passed = Callable[[int], None]


def index_object(
    store: Store, name: str, *, checksums: bool | None = None, lanes: int = LANES, passed: Passed = lambda _: None
) -> IndexedTar:
    """Return the index of a tar in a store; the same as `index_tar` gives, but perhaps without checksums.

    Costs the tar's length and its headers, where payloads are large; else ranges of up to 8 MiB.
    Memory: the index, and one range, or `lanes` small ones. Calls `passed(bytes)` as it gets on.

    Args:
        store: Holds the tar.
        name: Of the tar.
        checksums: True reads everything; False and None skip payloads where that saves much.
        lanes: Requests under way at once.
        passed: Called with the bytes that are behind since the call before; skipped ones count.

    Raises:
        CorruptShardError: Not a plain tar, damaged, truncated, or a sample has a field twice.
        ShardNotFoundError, StaleIndexError, StorageError: It cannot be read, or was replaced meanwhile.
    """
    size = store.size(name)
    price = max(REQUEST_BYTES, store.merge_limits.max_gap_bytes)
    tar = _Tar(store, name, size, price)
    parser, grouping = TarParser(name), Grouping(name)
    checksum, saved, extent, length = 0, 0, 0, FIRST_BYTES
    at = 0
    while at < size:
        data = store.get_range(name, start=at, length=min(length, size - at))
        at += len(data)
        checksum = crc32c(data, checksum)
        if not parser.finished:
            for event in parser.feed(data):
                grouping.add(event)
                if isinstance(event, Member):
                    saved += max(0, event.size - price)
                    extent = event.data_offset + event.size
        passed(len(data))
        after = size - at if parser.finished else 0
        if not checksums and at < size and saved + after > MIN_SAVED * max(at + after, extent):
            end_of_data = _Hopping(tar, lanes, grouping, passed).run(parser)
            return grouping.finish(end_of_data, num_bytes=size, shard_crc32c=None)
        length = min(2 * length, STRAIGHT_BYTES)
    return grouping.finish(parser.close(), num_bytes=size, shard_crc32c=checksum)


@dataclass(frozen=True, slots=True)
class _Tar:
    """A tar of `size` bytes, in a store where a request is worth `price` bytes."""

    store: Store
    name: str
    size: int
    price: int


class Lane:
    """One chain of hops, or the search for a place where one may begin.

    Attributes:
        begin, stop: The stretch that it is to cover; it stops between two members.
        members: Found so far, in order.
        ends: Places between members -> how many of `members` lie before.
        error: What ended it.
    """

    def __init__(self, tar: _Tar, *, begin: int, stop: int, search: int = 0):
        self._name, self._size, self._price = tar.name, tar.size, tar.price
        self.begin, self.stop = begin, stop
        self.members: list[Member] = []
        self.ends: dict[int, int] = {}
        self.error: CorruptShardError | None = None
        self.parser: TarParser | None = None
        self._position, self._search, self._lost = begin, search, False
        self._length = SEARCH_BYTES
        self._together: deque[int] = deque(maxlen=REMEMBERED)  # lengths of headers and small members in a row
        self._first = self._headers_end = -1  # of the row that is being read

    @property
    def position(self) -> int:
        """Where the next range begins."""
        return self._position if self.parser is None else self.parser.position

    @property
    def done(self) -> bool:
        """Whether it needs no more ranges."""
        if self.error or self._lost or self.position >= self._size:
            return True
        if self.parser is None:
            return False
        return self.parser.finished or (self.position >= self.stop and self.parser.is_between_members)

    def follow(self, parser: TarParser) -> None:
        """Go on with a parser, from where it is."""
        self.parser = parser
        self._skip()

    def wanted(self) -> tuple[int, int]:
        """Return the next range: start, length."""
        return self.position, min(self._length, self._size - self.position)

    def take(self, data: bytes) -> None:
        """Take the bytes of the range that was wanted."""
        if self.parser is None:
            found = _first_header(data)
            if found < 0:
                self._position += len(data)
                self._length = min(2 * self._length, max(SEARCH_BYTES, padded(self._search // SEARCHED_STRIDES // 2)))
                self._lost = self._position >= min(self.begin + self._search, self.stop)
                return
            self.begin = self._position + found
            self.parser = TarParser(self._name, offset=self.begin)
            self.ends[self.begin] = 0
            data = data[found:]
        try:
            for event in self.parser.feed(data):
                if isinstance(event, Member):
                    self._note(event)
        except CorruptShardError as error:
            self.error = error
            return
        self._skip()

    def _note(self, member: Member) -> None:
        if member.member_offset - self._headers_end > NEAR_BYTES:
            if self._first >= 0:
                self._together.append(self._headers_end - self._first)
            self._first = member.member_offset
        self._headers_end = member.data_offset
        self.members.append(member)
        self.ends[end_of(member)] = len(self.members)

    def _skip(self) -> None:
        assert self.parser is not None
        distance = self.parser.to_skip
        self.parser.skip(min(distance, self._size - self.parser.position))
        if distance <= self._price:
            self._length = min(2 * self._length, MAX_READ_ON_BYTES)
        else:
            window = max(self._together, default=WINDOW_BYTES)
            self._length = min(max(padded(window), MIN_WINDOW_BYTES), MAX_WINDOW_BYTES)


def end_of(member: Member) -> int:
    """Return where the next header begins."""
    return padded(member.data_offset + member.size)


def _first_header(data: bytes) -> int:
    """Return where in whole blocks the first one is that looks like a header; -1 for none."""
    at = data.find(b"ustar")
    while at >= 0:
        begin = at - MAGIC
        if begin >= 0 and begin % BLOCK == 0 and checksum_matches(data[begin : begin + BLOCK]):
            return begin
        at = data.find(b"ustar", at + 1)
    return -1


class _Hopping:
    """The lanes of one tar, in step: each round is one request of every lane, all at once."""

    def __init__(self, tar: _Tar, lanes: int, grouping: Grouping, passed: Passed) -> None:
        self._tar, self._size = tar, tar.size
        self._most, self._grouping, self._passed = lanes, grouping, passed
        self._lanes: deque[Lane] = deque()
        self._emitted = 0  # of the first lane's members
        self._told = 0  # bytes that `passed` knows of
        self._stretch = 0  # of a lane; 0 until it is known how long it should be
        self._stride = 0
        self._planned = 0  # up to where lanes are
        self._met = self._missed = 0

    def run(self, parser: TarParser) -> int:
        """Follow the chain to the end of the archive; return the end of data."""
        start = parser.position
        first = Lane(self._tar, begin=start, stop=self._size)
        first.follow(parser)
        self._lanes.append(first)
        self._told = start
        rounds = 0
        while not self._lanes[0].done:
            if rounds == SOUNDING:
                self._measure((self._lanes[0].position - start) // rounds)
            self._add_lanes()
            active = [lane for lane in self._lanes if not lane.done]
            starts, lengths = zip(*(lane.wanted() for lane in active), strict=True)
            buffers = self._tar.store.get_ranges(self._tar.name, starts=starts, lengths=lengths)
            for lane, data in zip(active, buffers, strict=True):
                lane.take(data)
            self._emit()
            self._tell()
            rounds += 1
        self._passed(self._size - self._told)
        last = self._lanes[0].parser
        assert last is not None
        return last.close()

    def _measure(self, stride: int) -> None:
        if 0 < stride <= MAX_STRIDE_BYTES and self._most > 1:
            share = (self._size - self._lanes[0].position) // self._most
            self._stretch = padded(min(max(share, LANE_HOPS * stride), MOST_LANE_HOPS * stride))
            self._stride = stride

    def _add_lanes(self) -> None:
        if not self._stretch or self._missed > 2 * self._met + self._most:
            return
        if len(self._lanes) == 1:
            self._planned = max(self._planned, padded(self._lanes[0].position) + self._stretch)
        while len(self._lanes) < self._most and self._planned + self._stretch // 2 < self._size:
            begin, self._planned = self._planned, self._planned + self._stretch
            self._lanes.append(Lane(self._tar, begin=begin, stop=self._planned, search=SEARCHED_STRIDES * self._stride))

    def _emit(self) -> None:
        """Hand on what the chain from the start has found, and let the lanes it arrives at take over."""
        lanes = self._lanes
        while self._emitted < len(lanes[0].members):
            member = lanes[0].members[self._emitted]
            self._emitted += 1
            self._grouping.add(member)
            end = end_of(member)
            while len(lanes) > 1 and end not in lanes[1].ends and end >= lanes[1].stop:
                del lanes[1]
                self._missed += 1
            if len(lanes) > 1 and end in lanes[1].ends:
                lanes.popleft()
                self._emitted = lanes[0].ends[end]
                lanes[0].stop = self._size
                self._met += 1
        if lanes[0].error is not None:
            raise lanes[0].error
        lanes[0].members.clear()
        lanes[0].ends.clear()
        self._emitted = 0

    def _tell(self) -> None:
        covered = sum(lane.position - lane.begin for lane in self._lanes if lane.parser is not None)
        done = min(max(self._lanes[0].begin + covered, self._told), self._size)
        self._passed(done - self._told)
        self._told = done

"""One chain of headers: a scanner asks for the next range, takes its bytes, and notes the members it finds.

It starts where a parser stands, or searches for a block that looks like a header and starts there. Payloads
are skipped if they are larger than a request is worth.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.tar_header import BLOCK, MAGIC, checksum_matches, padded
from shardpack.format.tar_parser import Member, TarParser

WINDOW_BYTES = 4 << 10  # read at a header, until it is known how much stands together there
MIN_WINDOW_BYTES, MAX_WINDOW_BYTES = 1 << 10, 64 << 10
SMALL_BYTES = 4 << 10  # members this small are read with the header behind them
MAX_READ_ON_BYTES = 1 << 20
REMEMBERED = 8  # offsets of headers whose length the next window is judged by
SEARCH_BYTES = 16 << 10  # at first, then up to half of what lies between headers


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar of `size` bytes, in a store where a request is worth `request_bytes` bytes."""

    name: str
    size: int
    request_bytes: int


class Scanner:
    """Scans one stretch of a tar.

    Attributes:
        begin, stop: The stretch; it stops between two members.
        members: Found so far, in order.
        ends: Offsets between members -> how many of `members` lie before.
        error: What ended it.
    """

    def __init__(self, tar: Tar, *, begin: int, stop: int, parser: TarParser | None = None, search_bytes: int = 0):
        """Make a scanner that goes on with a parser, or without one searches for a header.

        Args:
            tar: What it scans.
            begin, stop: Its stretch.
            parser: Stands at `begin`.
            search_bytes: How far it looks for its first header; then it gives up.
        """
        self._tar = tar
        self.begin, self.stop = begin, stop
        self.members: list[Member] = []
        self.ends: dict[int, int] = {}
        self.error: CorruptShardError | None = None
        self.parser = parser
        self._position, self._search_end, self._gave_up = begin, min(begin + search_bytes, stop), False
        self._max_search_bytes = max(SEARCH_BYTES, padded(search_bytes // 8))
        self._length = SEARCH_BYTES
        self._together: deque[int] = deque(maxlen=REMEMBERED)  # lengths of headers and small members in a row
        self._first = self._headers_end = -1  # of the row that is being read
        if parser is not None:
            self._skip_payload(parser)

    @property
    def position(self) -> int:
        """Where the next range begins."""
        return self._position if self.parser is None else self.parser.position

    @property
    def done(self) -> bool:
        """Whether it needs no more ranges."""
        if self.error or self._gave_up or self.position >= self._tar.size:
            return True
        if self.parser is None:
            return False
        return self.parser.finished or (self.position >= self.stop and self.parser.is_between_members)

    def next_range(self) -> tuple[int, int]:
        """Return the next range: start, length."""
        return self.position, min(self._length, self._tar.size - self.position)

    def take(self, data: bytes) -> None:
        """Take the bytes of the range that was asked for."""
        if self.parser is None:
            found = _first_header(data)
            if found < 0:
                self._position += len(data)
                self._length = min(2 * self._length, self._max_search_bytes)
                self._gave_up = self._position >= self._search_end
                return
            self.begin = self._position + found
            self.parser = TarParser(self._tar.name, offset=self.begin)
            self.ends[self.begin] = 0
            data = data[found:]
        try:
            for event in self.parser.feed(data):
                if isinstance(event, Member):
                    self._add(event)
        except CorruptShardError as error:
            self.error = error
            return
        self._skip_payload(self.parser)

    def _add(self, member: Member) -> None:
        if member.member_offset - self._headers_end > SMALL_BYTES:
            if self._first >= 0:
                self._together.append(self._headers_end - self._first)
            self._first = member.member_offset
        self._headers_end = member.data_offset
        self.members.append(member)
        self.ends[end_of(member)] = len(self.members)

    def _skip_payload(self, parser: TarParser) -> None:
        distance = parser.to_skip
        parser.skip(min(distance, self._tar.size - parser.position))
        if distance <= self._tar.request_bytes:
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

"""Follow one chain of headers: a `Scanner` names the next range, parses its bytes, and collects the members.

It continues with a parser, or searches for a block that looks like a header and starts there. It skips
payloads that cost more to read than a request.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.tar_header import BLOCK, MAGIC, checksum_matches, padded
from shardpack.format.tar_parser import Member, TarParser

WINDOW_BYTES = 4 << 10  # first length of a read at a header, before any group of headers has been measured
MIN_WINDOW_BYTES, MAX_WINDOW_BYTES = 1 << 10, 64 << 10
SMALL_BYTES = 4 << 10  # payloads this small are read together with the next header
MAX_READ_ON_BYTES = 1 << 20  # longest read while payloads are too small to skip
REMEMBERED = 8  # groups of headers whose lengths determine the next window
SEARCH_BYTES = 16 << 10  # first length of a read while searching for a header


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar of `size` bytes, in a store where a request costs as much as reading `request_bytes` bytes."""

    name: str
    size: int
    request_bytes: int


class Scanner:
    """Scan one stretch of a tar.

    Attributes:
        begin, stop: The stretch; the scan ends at the first offset between two members that is not before `stop`.
        members: Members found so far, in order.
        ends: Offset between two members -> how many of `members` are before it.
        error: The error that ended the scan, if any.
    """

    def __init__(self, tar: Tar, *, begin: int, stop: int, parser: TarParser | None = None, search_bytes: int = 0):
        """Make a scanner that continues with a parser, or searches for a header.

        Args:
            tar: The tar to scan.
            begin, stop: The stretch.
            parser: Parser whose position is `begin`; None to search.
            search_bytes: How far to search for the first header before giving up.
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
        self._group_bytes: deque[int] = deque(maxlen=REMEMBERED)  # lengths of groups: headers and small payloads
        self._group_start = self._group_end = -1  # of the group being read
        if parser is not None:
            self._skip_payload(parser)

    @property
    def position(self) -> int:
        """Where the next range starts."""
        return self._position if self.parser is None else self.parser.position

    @property
    def done(self) -> bool:
        """Whether the scan needs no more ranges."""
        if self.error or self._gave_up or self.position >= self._tar.size:
            return True
        if self.parser is None:
            return False
        return self.parser.finished or (self.position >= self.stop and self.parser.is_between_members)

    def next_range(self) -> tuple[int, int]:
        """Return start and length of the next range."""
        return self.position, min(self._length, self._tar.size - self.position)

    def feed(self, data: bytes) -> None:
        """Parse the bytes of the range that `next_range` has named."""
        if self.parser is None:
            header = _first_header(data)
            if header < 0:
                self._position += len(data)
                self._length = min(2 * self._length, self._max_search_bytes)
                self._gave_up = self._position >= self._search_end
                return
            self.begin = self._position + header
            self.parser = TarParser(self._tar.name, offset=self.begin)
            self.ends[self.begin] = 0
            data = data[header:]
        try:
            for event in self.parser.feed(data):
                if isinstance(event, Member):
                    self._add(event)
        except CorruptShardError as error:
            self.error = error
            return
        self._skip_payload(self.parser)

    def _add(self, member: Member) -> None:
        if member.member_offset - self._group_end > SMALL_BYTES:
            if self._group_start >= 0:
                self._group_bytes.append(self._group_end - self._group_start)
            self._group_start = member.member_offset
        self._group_end = member.data_offset
        self.members.append(member)
        self.ends[end_of(member)] = len(self.members)

    def _skip_payload(self, parser: TarParser) -> None:
        distance = parser.to_skip
        parser.skip(min(distance, self._tar.size - parser.position))
        if distance <= self._tar.request_bytes:
            self._length = min(2 * self._length, MAX_READ_ON_BYTES)
        else:
            window = max(self._group_bytes, default=WINDOW_BYTES)
            self._length = min(max(padded(window), MIN_WINDOW_BYTES), MAX_WINDOW_BYTES)


def end_of(member: Member) -> int:
    """Return the offset of the header after a member."""
    return padded(member.data_offset + member.size)


def _first_header(data: bytes) -> int:
    """Return the offset of the first block that looks like a header, or -1; `data` starts at a block."""
    magic = data.find(b"ustar")
    while magic >= 0:
        begin = magic - MAGIC
        if begin >= 0 and begin % BLOCK == 0 and checksum_matches(data[begin : begin + BLOCK]):
            return begin
        magic = data.find(b"ustar", magic + 1)
    return -1

"""A chain of headers: where it reads, what it skips, and how it finds its first header."""

from __future__ import annotations

import pytest

from shardpack.format.tar_parser import TarParser
from shardpack.index.scanner import SEARCH_BYTES, Scanner, Tar, end_of
from tests.format.builders import block, entry

END = bytes(1024)
PHOTOS = b"".join(entry(b"%03d.jpg" % i, b"x" * 50_000) + entry(b"%03d.json" % i, b"{}") for i in range(20))


def scan(scanner, data):
    """Return the ranges that a scanner asks for until it is done."""
    ranges = []
    while not scanner.done:
        start, length = scanner.next_range()
        ranges.append((start, length))
        scanner.feed(data[start : start + length])
    return ranges


def test_from_the_start_it_finds_all_members_and_skips_payloads():
    data = PHOTOS + END
    scanner = Scanner(Tar("x.tar", len(data), 4096), begin=0, stop=len(data), parser=TarParser("x.tar"))
    ranges = scan(scanner, data)
    assert [member.name for member in scanner.members] == [f"{i:03d}.{f}" for i in range(20) for f in ("jpg", "json")]
    assert sum(length for _, length in ranges) < len(data) / 5
    assert scanner.error is None
    assert [scanner.ends[end_of(member)] for member in scanner.members] == list(range(1, 41))


def test_it_stops_between_members():
    data = PHOTOS + END
    scanner = Scanner(Tar("x.tar", len(data), 4096), begin=0, stop=200_000, parser=TarParser("x.tar"))
    scan(scanner, data)
    assert scanner.position >= 200_000
    assert scanner.position in scanner.ends
    assert scanner.members[-1].member_offset < 200_000 + 51_000


def test_it_searches_for_its_first_header():
    data = PHOTOS + END
    scanner = Scanner(Tar("x.tar", len(data), 4096), begin=100_352, stop=len(data), search_bytes=200_000)
    scan(scanner, data)
    assert data[scanner.begin + 257 :][:5] == b"ustar"
    assert 100_352 < scanner.begin <= 100_352 + 52_000
    assert scanner.members[0].member_offset == scanner.begin


def test_it_gives_up_where_there_is_no_header():
    data = bytes(range(256)) * 4000
    scanner = Scanner(Tar("x.tar", len(data), 4096), begin=0, stop=len(data), search_bytes=100_000)
    read = sum(length for _, length in scan(scanner, data))
    assert 100_000 <= read < 100_000 + 4 * SEARCH_BYTES
    assert scanner.members == []


@pytest.mark.parametrize("what", [b"junk" * 128, block(b"x", 0, b"S")])
def test_an_error_ends_it_and_is_kept(what):
    data = entry(b"a.jpg", b"1") + what + PHOTOS
    scanner = Scanner(Tar("x.tar", len(data), 4096), begin=0, stop=len(data), parser=TarParser("x.tar"))
    scan(scanner, data)
    assert scanner.error is not None
    assert scanner.error.offset == 1024
    assert [member.name for member in scanner.members] == ["a.jpg"]

"""A store whose objects are the members of zip archives: their bytes inflated, and checked against zip's CRC-32.

A path of this store says all that reading the member takes, so that workers need no directory of the archive:

    train.zip!<offset>+<span>,<stored>,<size>,<method>,<crc32>!cat/0001.jpg

A member and its local header are one range, and members lie close together, so that many are one request.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from shardpack.errors import CorruptShardError
from shardpack.sources.archives.zip_directory import LOCAL_HEADER_BYTES, STORED
from shardpack.storage.base_store import Wrapper, raise_truncated
from shardpack.storage.coalesce import coalesce
from shardpack.storage.protocols import Ranges, Store, Version

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")  # APPNOTE.TXT 4.3.7
_MAX_EXTRA = 2 * 0xFFFF  # name and extra field of a local header, at most
_PATH = re.compile(r"(.*?)!(\d+)\+(\d+),(\d+),(\d+),(\d+),(\d+)!(.*)", re.DOTALL)
_HEAD_BYTES = 1024  # of a deflated member, besides what is asked for, when only its first bytes are


class ZipMember(NamedTuple):
    """Where a member is, and what it must be when it has been read."""

    archive: str
    offset: int
    span: int
    stored: int
    size: int
    method: int
    crc32: int
    name: str

    @property
    def path(self) -> str:
        """The member's path in a ZipStore."""
        return (
            f"{self.archive}!{self.offset}+{self.span},{self.stored},{self.size},{self.method},{self.crc32}!{self.name}"
        )

    def range_of(self, num_bytes: int) -> int:
        """Return how many bytes from its local header on hold the first bytes of its payload."""
        if num_bytes == self.size:
            wanted = self.stored
        elif self.method == STORED:
            wanted = num_bytes
        else:
            wanted = min(self.stored, num_bytes + _HEAD_BYTES)
        rest = self.span - LOCAL_HEADER_BYTES - self.stored  # name, extra field, and what follows the payload
        return min(self.span, LOCAL_HEADER_BYTES + min(rest, _MAX_EXTRA) + wanted)


def parse_member(path: str) -> ZipMember:
    """Return the member that a path of a ZipStore names.

    Raises:
        CorruptShardError: It is not such a path.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise CorruptShardError("not a member of a zip archive; list the archive again", path=path)
    archive, *numbers, name = match.groups()
    return ZipMember._make((archive, *map(int, numbers), name))


class ZipStore(Wrapper):
    """The members of the zip archives in another store. Safe in threads if that store is."""

    @property
    def base(self) -> Store:
        """The store of the archives."""
        return self._base

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a part of a member. Costs one request; all of a deflated one is read unless `start` is 0."""
        return bytes(self.get_many([Ranges(path, [start], [length])])[0][0])

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return parts of a member."""
        return [bytes(part) for part in self.get_many([Ranges(path, starts, lengths)])[0]]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return parts of several members; neighbouring ones are read together.

        Parts of stored members are views of what was read: to copy them takes a quarter of the time.
        """
        members = [parse_member(ranges.path) for ranges in wanted]
        needed = [_needed(member, ranges) for member, ranges in zip(members, wanted, strict=True)]
        stored: list[memoryview] = [memoryview(b"")] * len(members)
        by_archive: dict[str, list[int]] = {}
        for number, member in enumerate(members):
            by_archive.setdefault(member.archive, []).append(number)
        for archive, numbers in by_archive.items():
            chosen = [members[number] for number in numbers]
            lengths = [member.range_of(needed[number]) for member, number in zip(chosen, numbers, strict=True)]
            starts = [member.offset for member in chosen]
            for number, data in zip(numbers, self._read(archive, starts, lengths), strict=True):
                stored[number] = data
        results: list[list[memoryview | bytes]] = []
        for member, ranges, length, data in zip(members, wanted, needed, stored, strict=True):
            payload = self._payload(member, length, data)
            whole = ranges.starts == [0] and ranges.lengths == [member.size]
            parts = zip(ranges.starts, ranges.lengths, strict=True)
            results.append([payload] if whole else [payload[a : a + n] for a, n in parts])
        return cast("list[list[bytes]]", results)

    def _read(self, archive: str, starts: list[int], lengths: list[int]) -> list[memoryview]:
        plan = coalesce(np.array(starts, np.int64), np.array(lengths, np.int64), limits=self._base.merge_limits)
        begins = plan.starts.tolist()
        read = self._base.get_ranges(archive, starts=begins, lengths=plan.lengths.tolist())
        views = [memoryview(data) for data in read]
        owners = plan.owner.tolist()
        return [
            views[owner][start - begins[owner] : start - begins[owner] + length]
            for start, length, owner in zip(starts, lengths, owners, strict=True)
        ]

    def _payload(self, member: ZipMember, needed: int, data: memoryview) -> memoryview | bytes:
        """Return the first `needed` bytes of a member; all of it is checked against its CRC-32."""
        begin = _header_bytes(member, data)
        if member.method == STORED:
            payload: memoryview | bytes = data[begin : begin + needed]
        else:
            content = data[begin : begin + member.stored]
            payload = _inflate(content, needed, member)
            if len(payload) < needed and len(content) < member.stored:  # its first bytes were not enough
                length = member.range_of(member.size)
                (data,) = self._read(member.archive, [member.offset], [length])
                payload = _inflate(data[begin : begin + member.stored], needed, member)
        if len(payload) != needed:
            raise _damaged(f"expected {needed} bytes, it has {len(payload)}", member)
        if needed == member.size and zlib.crc32(payload) != member.crc32:
            raise _damaged("its CRC-32 differs", member)
        return payload

    def size(self, path: str) -> int:
        """Return the length of a member. Costs nothing."""
        return parse_member(path).size

    def version(self, path: str) -> Version:
        """Return the length of a member, and the version of its archive."""
        member = parse_member(path)
        return Version(member.size, self._base.version(member.archive).etag)


def payload_start(store: Store, member: ZipMember) -> int:
    """Return where the stored bytes of a member begin in its archive; reads its local header.

    Raises:
        CorruptShardError: The header contradicts the directory.
    """
    header = store.get_range(member.archive, start=member.offset, length=LOCAL_HEADER_BYTES)
    return member.offset + _header_bytes(member, memoryview(header))


def _header_bytes(member: ZipMember, data: memoryview) -> int:
    """Return the length of a local header with name and extra field, once it agrees with the directory."""
    signature, _, _, method, *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack_from(data)
    length = LOCAL_HEADER_BYTES + int(name_bytes) + int(extra_bytes)
    if signature != b"PK\3\4" or method != member.method or length + member.stored > member.span:
        raise _damaged("its local header contradicts the central directory", member)
    name = bytes(data[LOCAL_HEADER_BYTES : LOCAL_HEADER_BYTES + int(name_bytes)])
    if name.isascii() and len(name) == name_bytes and member.name.isascii() and name.decode() != member.name:
        raise _damaged(f"its local header contradicts the central directory: it is called {name.decode()!r}", member)
    return length


def _needed(member: ZipMember, ranges: Ranges) -> int:
    """Return how many bytes of a member, from its start, hold all ranges."""
    ends = [start + length for start, length in zip(ranges.starts, ranges.lengths, strict=True) if length]
    needed = max(ends, default=0)
    if needed > member.size or any(start < 0 for start in ranges.starts):
        raise_truncated(member.path, min(ranges.starts), needed, member.size)
    return needed


def _inflate(content: memoryview, num_bytes: int, member: ZipMember) -> bytes:
    """Return the first bytes of a member, and never more memory than it should take.

    Raises:
        CorruptShardError: The bytes are damaged, or hold more than the directory says.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        payload = inflater.decompress(content, max(num_bytes, 1))
        if num_bytes == member.size:
            # The end of the stream may stand behind the last byte.
            more = inflater.decompress(inflater.unconsumed_tail, 1)
            if more or len(payload) != num_bytes or not inflater.eof or inflater.unused_data:
                raise _damaged(f"expected {num_bytes} bytes when inflated, it has more or fewer", member)
    except zlib.error as error:
        raise _damaged(f"it cannot be inflated ({error})", member) from error
    return payload[:num_bytes]


def _damaged(what: str, member: ZipMember) -> CorruptShardError:
    return CorruptShardError(
        f"member {member.name!r} of a zip archive is damaged: {what}; download the archive again",
        path=member.archive,
        offset=member.offset,
    )

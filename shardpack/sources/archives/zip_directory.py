"""The central directory of a zip archive: which members it has and where they are. Pure: bytes in, columns out.

    members ... | central directory | [zip64 end | zip64 locator] | end, with a comment

Clauses in comments are those of PKWARE's APPNOTE.TXT 6.3.10. Readers of zips differ in what they tolerate; this one
refuses what two of them would read differently, and members that share bytes, of which bombs are made.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from shardpack.errors import SourceError

MAX_DIRECTORY_BYTES = 1 << 30  # of about ten million members
TAIL_BYTES = 256 << 10  # read first, from the end: the end record with its comment, and the directory of a small zip
STORED, DEFLATED = 0, 8
LOCAL_HEADER_BYTES = 30  # 4.3.7, without name and extra field
MAX_RATIO = 1032  # of deflate: 258 bytes take two bits at least
LARGE_BYTES, MAX_LARGE_RATIO = 64 << 20, 200  # a single file that is both large and compressed like this is a bomb
FOLDER, LINK = "folder", "link"

_END = struct.Struct("<4s4H2IH")  # 4.3.16
_LOCATOR = struct.Struct("<4sIQI")  # 4.3.15
_END_64 = struct.Struct("<4sQ2H2I4Q")  # 4.3.14
_MEMBER = struct.Struct("<4s6H3I5H2I")  # 4.3.12
_ALL_ONES = 0xFFFFFFFF  # 4.4.1.4: the value is in the zip64 extra field
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13  # 4.4.4
_UTF_8 = 1 << 11
_UNIX = frozenset((3, 7, 19))  # 4.4.2: systems whose zippers write names as the system has them, in UTF-8
_LINK, _FILE_TYPE = 0o120000, 0o170000
_MAX_OFFSET = 1 << 60
_METHODS = {
    1: "Shrink", 6: "Implode", 9: "Deflate64", 12: "bzip2", 14: "LZMA", 20: "Zstandard", 93: "Zstandard", 94: "MP3",
    95: "XZ", 96: "JPEG", 97: "WavPack", 98: "PPMd", 99: "AES encryption",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class End:
    """Where the central directory is, and what follows it.

    Attributes:
        offset, size: The directory, from the start of the file.
        count: Number of its members.
        shift: Bytes before the archive, as in a program that unpacks itself: offsets count from behind them.
    """

    offset: int
    size: int
    count: int
    shift: int


def _int64s() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Entries:
    """Members of an archive, in columns, in the order of the directory.

    Attributes:
        names: As stored, decoded.
        kinds: "" for a file that can be read, FOLDER, LINK, or why a file cannot be read.
        offset: First byte of the local header.
        span: Bytes from there to what follows the member.
        stored: Bytes in the archive.
        size: Bytes when inflated.
        method, crc32: As in the directory.
    """

    names: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    offset: array[int] = field(default_factory=_int64s)
    span: Sequence[int] = ()
    stored: array[int] = field(default_factory=_int64s)
    size: array[int] = field(default_factory=_int64s)
    method: array[int] = field(default_factory=lambda: array("H"))
    crc32: array[int] = field(default_factory=lambda: array("I"))


def find_end(tail: bytes, size: int, *, name: str) -> End:
    """Return where the central directory is.

    Args:
        tail: The last bytes of the archive, TAIL_BYTES of them or all.
        size: Its length.
        name: For messages.

    Raises:
        SourceError: The end record is missing, repeated, or contradicts itself; or the archive is split.
    """
    ends = [at for at in _occurrences(tail, b"PK\5\6") if _ends_with_comment(tail, at)]
    if not ends:
        raise SourceError(
            "not a zip archive, or truncated: expected an end record behind its members; download it again", path=name
        )
    if len(ends) > 1:
        raise SourceError("zip archive has two end records, which readers take differently; zip it again", path=name)
    at = ends[0]
    _, disk, first_disk, on_disk, count, directory, offset, _ = _END.unpack_from(tail, at)
    position = size - len(tail) + at
    behind = position
    if tail[at - _LOCATOR.size : at - _LOCATOR.size + 4] == b"PK\6\7" and at >= _LOCATOR.size:
        _, disk, _, disks = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        start = at - _LOCATOR.size - _END_64.size  # 4.3.14.2: without an extensible data sector
        if start < 0 or tail[start : start + 4] != b"PK\6\6":
            raise _damaged("its zip64 end record is not where it should be", name, position)
        *_, disk_64, first_disk, on_disk, count, directory, offset = _END_64.unpack_from(tail, start)
        disk, behind = max(disk, disk_64, disks - 1), size - len(tail) + start
    if disk or first_disk or on_disk != count:
        raise _split(name)
    shift = behind - directory - offset
    if shift < 0 or directory < count * _MEMBER.size:
        raise _damaged(f"{count} members in {directory} bytes of directory from {offset} on", name, position)
    if directory > MAX_DIRECTORY_BYTES:
        raise SourceError(
            f"central directory has {directory} bytes, expected at most {MAX_DIRECTORY_BYTES}; split the archive",
            path=name,
        )
    return End(offset + shift, directory, count, shift)


def _occurrences(data: bytes, wanted: bytes) -> Iterator[int]:
    at = data.rfind(wanted, max(0, len(data) - _END.size - 0xFFFF))
    while at >= 0:
        yield at
        at = data.rfind(wanted, max(0, len(data) - _END.size - 0xFFFF), at)


def _ends_with_comment(tail: bytes, at: int) -> bool:
    return len(tail) - at >= _END.size and at + _END.size + _END.unpack_from(tail, at)[-1] == len(tail)


def parse_directory(data: bytes, end: End, *, name: str) -> Entries:
    """Return the members of a central directory. Costs about 3 us a member.

    Raises:
        SourceError: The directory is damaged, or two members share bytes.
    """
    members = Entries()
    least = array("q")  # bytes that each member has in the archive at least
    at = 0
    while at < len(data):
        position = end.offset + at
        if data[at : at + 4] != b"PK\1\2" or at + _MEMBER.size > len(data):
            raise _damaged("expected a member in its central directory", name, position)
        (_, made_by, _, flags, method, _, _, crc32, stored, size, n, m, k, disk, _, attributes, offset) = (
            _MEMBER.unpack_from(data, at)
        )
        begin = at + _MEMBER.size
        raw, extra = data[begin : begin + n], data[begin + n : begin + n + m]
        at = begin + n + m + k
        if at > len(data):
            raise _damaged("a member ends behind its central directory", name, position)
        if _ALL_ONES in (size, stored, offset):
            size, stored, offset = _zip64(extra, (size, stored, offset), name, position)
        if disk not in (0, 0xFFFF):
            raise _split(name)
        shown, system = _decode(raw, flags, made_by >> 8), made_by >> 8
        if shown.endswith("/") and not size:
            kind = FOLDER
        elif system in _UNIX and attributes >> 16 & _FILE_TYPE == _LINK:
            kind = LINK
        else:
            kind = _problem(flags, method, stored, size)
        members.names.append(shown)
        members.kinds.append(kind)
        members.offset.append(offset + end.shift)
        members.stored.append(stored)
        members.size.append(size)
        members.method.append(method)
        members.crc32.append(crc32)
        least.append(LOCAL_HEADER_BYTES + n + stored)
    if len(members.names) != end.count:
        raise _damaged(f"its end record says {end.count} members, its directory has {len(members.names)}", name, None)
    members.span = _spans(members, least, end, name)
    return members


def _zip64(extra: bytes, values: tuple[int, int, int], name: str, position: int) -> Iterator[int]:
    """Yield size, stored size and offset with those that are in the zip64 extra field (4.5.3) taken from it."""
    wide = b""
    at = 0
    while at + 4 <= len(extra) and not wide:
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + length]
        at += 4 + length
    for value in values:
        if value != _ALL_ONES:
            yield value
            continue
        found = int.from_bytes(wide[:8], "little")
        if len(wide) < 8 or found > _MAX_OFFSET:
            raise _damaged("a member lacks its 64-bit size or offset", name, position)
        wide = wide[8:]
        yield found


def _decode(raw: bytes, flags: int, system: int) -> str:
    """Return the name of a member: in UTF-8 where it says so or its system does, otherwise in code page 437."""
    if raw.isascii():
        return raw.decode()
    if flags & _UTF_8 or system in _UNIX:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return raw.decode("cp437")


def _problem(flags: int, method: int, stored: int, size: int) -> str:
    """Return why a member cannot be read, or ""."""
    if flags & _ENCRYPTED:
        return "it is encrypted; unpack the archive with its password, and pack the folder"
    if method not in (STORED, DEFLATED):
        called = _METHODS.get(method, "unknown")
        return f"it is compressed by method {method} ({called}), expected stored or deflated; zip it again"
    if method == STORED and stored != size:
        return f"it is stored in {stored} bytes, and said to have {size}; zip it again"
    if size > MAX_RATIO * stored + MAX_RATIO:
        return f"it claims {size} bytes out of {stored}, more than deflate can make; zip it again"
    if size > LARGE_BYTES and size > MAX_LARGE_RATIO * stored:
        return f"it would grow from {stored} to {size} bytes, as no image or label does; leave it out"
    return ""


def _spans(members: Entries, least: array[int], end: End, name: str) -> Sequence[int]:
    """Return how many bytes there are from each member to the next one, or to the directory.

    Raises:
        SourceError: Two members share bytes, as in a bomb, or one is not before the directory.
    """
    offsets = np.array(members.offset, np.int64)
    order = np.argsort(offsets, kind="stable")
    span = np.empty(len(order), np.int64)
    span[order] = np.diff(offsets[order], append=end.offset)
    bad = np.flatnonzero(span < np.array(least, np.int64))
    if len(bad):
        first = int(bad[0])
        raise SourceError(
            f"member {members.names[first]!r} overlaps with what follows it: expected {least[first]} bytes, it has "
            f"{span[first]}; zip bombs are made so, zip the files again",
            path=name,
            offset=int(offsets[first]),
        )
    return array("q", span.tobytes())


def _damaged(what: str, name: str, offset: int | None) -> SourceError:
    return SourceError(f"zip archive is damaged: {what}; download it again", path=name, offset=offset)


def _split(name: str) -> SourceError:
    return SourceError('zip archive is split into several files; join them with "zip -s 0" first', path=name)

"""A tar archive as a push parser: bytes in, members out, the same for any chunking (SPEC 2.3).

Rules of this file: no I/O, no sample grouping. It reads what GNU tar, bsdtar, Python and
webdataset write (v7, ustar, pax, GNU long names, base-256), and refuses whatever two of them
would read differently, so that nobody's bytes are taken for somebody else's.

    feed(data) -> events   Member, then its payload as memoryviews (parts of `data`), then the next
    close()    -> end of data; raises if the archive stops inside a member
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.tar_header import (
    BLOCK,
    LINK,
    MAGIC,
    MAX_NAME_BYTES,
    MTIME,
    NAME,
    PREFIX,
    SIZE,
    TYPE,
    checksum_matches,
    padded,
    parse_number,
)
from shardpack.format.tar_header import END as HEADER_END

# Extended headers hold names, not data; a longer one is an attack or damage.
MAX_EXTENDED_BYTES = 1 << 20
# No offset needs more than 63 bits, so that sums of two fit the index's unsigned columns.
MAX_ARCHIVE_BYTES = (1 << 63) - 1

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"BZh": "bzip2",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
}
_ZERO_BLOCK = bytes(BLOCK)

# Typeflags (POSIX ustar; GNU tar, tar.h; "X" is Solaris for "x").
_FILES = frozenset((b"0", b"\0", b"7"))
# Links, devices, folders, fifos: no payload, whatever their size field says. POSIX lets a hard
# link carry one; GNU tar and Python take it for empty, and so do we.
_BARE = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_EXTENDED = {b"x": b"x", b"X": b"x", b"g": b"g", b"L": b"L", b"K": b"K"}


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file in a tar. Offsets count from the start of the archive, in bytes."""

    name: str  # bytes that are no UTF-8 appear as surrogates (PEP 383), as in `os.fsdecode`
    member_offset: int  # first header block, extended ones included
    data_offset: int
    size: int

    @property
    def header_bytes(self) -> int:
        """Length of all headers before the payload."""
        return self.data_offset - self.member_offset


class TarParser:
    """Parse one archive from successive buffers. Not thread-safe; one per archive.

    Memory: at most one block and three extended headers, whatever the archive claims.
    """

    def __init__(self, shard: str, *, offset: int = 0):
        """Make a parser.

        Args:
            shard: Name of the archive, for errors.
            offset: Of the first buffer's first byte: the archive's begin, or that of a member.
        """
        self._shard = shard
        self._position = offset  # of the next buffer's first byte
        self._held = b""  # bytes of an unfinished header block
        self._payload = 0  # payload bytes of the current member still to come
        self._skip = 0  # bytes to pass over: padding, or members that are no files
        self._member_offset: int | None = None  # of the first extended header before the next member
        self._extended_kind = b""  # the extended header now being read
        self._extended = bytearray()
        self._pending: set[bytes] = set()  # kinds of extended header read for the next member
        self._pax: dict[bytes, bytes] = {}
        self._gnu_name = b""
        self._end_of_data: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the end-of-archive block was seen; what follows it is ignored."""
        return self._end_of_data is not None

    @property
    def position(self) -> int:
        """Offset of the byte that is fed next."""
        return self._position

    @property
    def to_skip(self) -> int:
        """How many of the next bytes hold no header: payload and padding, which `skip` may pass over."""
        return 0 if self._extended_kind else self._payload + self._skip

    @property
    def is_between_members(self) -> bool:
        """Whether a new parser that starts at `position` would find what this one finds."""
        return not (self.to_skip or self._held or self._extended_kind or self._member_offset is not None)

    def skip(self, num_bytes: int) -> None:
        """Pass over bytes as if they had been fed, at most `to_skip` of them; no event tells of them."""
        assert num_bytes <= self.to_skip
        payload = min(num_bytes, self._payload)
        self._payload -= payload
        self._skip -= num_bytes - payload
        self._position += num_bytes

    def feed(self, data: bytes | memoryview) -> Iterator[Member | memoryview]:
        """Yield what `data` completes. Exhaust it before the next call.

        Raises:
            CorruptShardError: Damaged, compressed or unsupported; names shard and offset.
        """
        view = memoryview(data)
        at, stop = 0, len(view)
        while at < stop and self._end_of_data is None:
            if self._payload:
                piece = view[at : at + self._payload]
                at += len(piece)
                self._payload -= len(piece)
                if self._extended_kind:
                    self._extend(piece)
                else:
                    yield piece
            elif self._skip:
                taken = min(self._skip, stop - at)
                at += taken
                self._skip -= taken
            else:
                block = self._held + view[at : at + BLOCK - len(self._held)]
                at += len(block) - len(self._held)
                if len(block) < BLOCK:
                    self._held = block
                    break
                self._held = b""
                member = self._header(block, self._position + at - BLOCK)
                if member is not None:
                    yield member
        self._position += stop

    def close(self) -> int:
        """Return the offset where members end and zero blocks or the end of the file begin.

        A tar without any zero block is accepted; `finished` tells.

        Raises:
            CorruptShardError: The archive is empty, or stops inside a member or header.
        """
        if self._end_of_data is not None:
            return self._end_of_data
        if self._position < BLOCK:
            raise self._not_a_tar(self._held)
        if self._held or self._payload or self._skip or self._pending:
            raise self._error("tar is truncated: it ends inside a member", self._position)
        return self._position

    def _header(self, block: bytes, offset: int) -> Member | None:
        if block == _ZERO_BLOCK:
            self._end(offset)
            return None
        if not checksum_matches(block):
            if offset == 0:
                raise self._not_a_tar(block)
            raise self._error("tar is damaged: expected a header, its checksum does not match", offset)
        kind = block[TYPE:LINK]
        if kind in _EXTENDED:
            self._begin_extended(_EXTENDED[kind], self._size(block, offset), offset)
            return None
        if self._member_offset is None:
            return self._place(kind, self._header_name(block), self._size(block, offset), offset, offset)
        member_offset, self._member_offset = self._member_offset, None
        name, size = self._pax.get(b"path", self._gnu_name) or self._header_name(block), self._size(block, offset)
        if b"size" in self._pax:
            size = self._pax_size(self._pax[b"size"], offset)
        if any(keyword.startswith(b"GNU.sparse") for keyword in self._pax):
            raise self._sparse(name, offset)
        self._pending, self._pax, self._gnu_name = set(), {}, b""
        return self._place(kind, name, size, member_offset, offset)

    def _place(self, kind: bytes, name: bytes, size: int, member_offset: int, offset: int) -> Member | None:
        """Set out how much payload and padding follow a header; return the member if it is a file."""
        if kind in _BARE or (kind == b"\0" and name.endswith(b"/")):  # the latter: a folder in v7
            return None
        if kind == b"S":
            raise self._sparse(name, offset)
        if size > MAX_ARCHIVE_BYTES - BLOCK - padded(offset + BLOCK):
            raise self._error(f"tar header claims {size} bytes, more than any archive holds", offset)
        if kind not in _FILES:
            self._skip = padded(size)  # an unknown kind (D, V, ...): POSIX lets us pass over it
            return None
        self._payload, self._skip = size, -size % BLOCK
        return Member(name.decode("utf-8", "surrogateescape"), member_offset, offset + BLOCK, size)

    def _size(self, block: bytes, offset: int) -> int:
        try:
            size = parse_number(block[SIZE:MTIME])
        except ValueError as error:
            raise self._error(f"tar header has a bad size: {error}", offset) from error
        if size < 0:
            raise self._error(f"tar header has a negative size {size}", offset)
        return size

    def _header_name(self, block: bytes) -> bytes:
        name = block[NAME:MAX_NAME_BYTES].split(b"\0", 1)[0]
        # GNU headers keep other things where POSIX has the prefix.
        if block[PREFIX] and block[MAGIC : MAGIC + 6] == b"ustar\0":
            return block[PREFIX:HEADER_END].split(b"\0", 1)[0] + b"/" + name
        return name

    def _begin_extended(self, kind: bytes, size: int, offset: int) -> None:
        if size > MAX_EXTENDED_BYTES:
            raise self._error(f"tar has an extended header of {size} bytes, limit {MAX_EXTENDED_BYTES}", offset)
        if kind in self._pending or (kind == b"g" and self._pending):
            raise self._error("tar has two extended headers of one kind, or a global one, before one member", offset)
        if self._member_offset is None:
            self._member_offset = offset
        self._extended_kind, self._extended = kind, bytearray()
        self._payload, self._skip = size, -size % BLOCK
        if not size:
            self._extend(memoryview(b""))

    def _extend(self, piece: memoryview) -> None:
        self._extended += piece
        if self._payload:
            return
        kind, data, self._extended_kind = self._extended_kind, bytes(self._extended), b""
        offset = self._member_offset or 0
        if kind == b"g":
            if any(keyword in _PLACING or keyword.startswith(b"GNU.sparse") for keyword in self._records(data, offset)):
                raise self._error("tar has a global pax header that sets path or size", offset)
            self._member_offset = None  # it belongs to no one member
            return
        self._pending.add(kind)
        if kind == b"L":
            self._gnu_name = data.rstrip(b"\0")
        elif kind == b"x":
            self._pax = self._records(data, offset)
        if b"\0" in self._gnu_name or b"\0" in self._pax.get(b"path", b""):
            raise self._error("tar member name has a NUL", offset)
        if self._gnu_name and b"path" in self._pax:
            raise self._error("tar member has two long names, one pax and one GNU", offset)

    def _records(self, data: bytes, offset: int) -> dict[bytes, bytes]:
        records: dict[bytes, bytes] = {}
        at, stop = 0, len(data.rstrip(b"\0"))
        while at < stop:
            digits, space, _ = data[at : at + 8].partition(b" ")
            length = int(digits) if space and digits.isdigit() else 0
            record = data[at : at + length]
            keyword, equals, value = record[len(digits) + 1 : -1].partition(b"=")
            if not keyword or not equals or len(record) < length or record[-1:] != b"\n":
                raise self._error("tar has a malformed pax header", offset)
            if not value and keyword in _PLACING:  # POSIX: "delete the header's own", which leaves nothing
                raise self._error(f"tar has a pax header with an empty {keyword.decode()}", offset)
            records[keyword] = value
            at += length
        return records

    def _pax_size(self, text: bytes, offset: int) -> int:
        if not text.isdigit() or len(text) > 19:
            raise self._error(f"tar has a bad pax size {text[:20]!r}", offset)
        return int(text)

    def _end(self, offset: int) -> None:
        if self._pending:
            raise self._error("tar is damaged: an extended header has no member", offset)
        self._end_of_data = offset

    def _sparse(self, name: bytes, offset: int) -> CorruptShardError:
        shown = name.decode("utf-8", "surrogateescape")
        return self._error(f"tar has a sparse member {shown!r}", offset, "make it anew without --sparse")

    def _not_a_tar(self, start: bytes) -> CorruptShardError:
        for magic, kind in _COMPRESSED.items():
            if start.startswith(magic):
                return self._error(f"{kind}-compressed, which cannot be sought", 0, "unpack it to a plain tar")
        what = "the first block is no header" if start else "the file is empty"
        return self._error(f"not a tar: {what}", 0, "copy it again, or leave it out")

    def _error(
        self, message: str, offset: int, advice: str = "copy the tar again, or make it anew"
    ) -> CorruptShardError:
        return CorruptShardError(f"{message}; {advice}", shard=self._shard, offset=offset)


_PLACING = frozenset((b"path", b"size"))  # the pax keywords that say which bytes a member is

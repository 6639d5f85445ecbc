"""A tar archive as a push parser: bytes in, members out, the same for any chunking (SPEC 2.3).

Rules of this file: no I/O, no grouping of samples. It reads what GNU tar, bsdtar, Python and
webdataset write (v7, ustar, pax, GNU long names, base-256), and refuses what two of them would
read differently, so that no bytes are attributed to the wrong member.

    feed(data) -> events   Member, then its payload as memoryviews (parts of `data`), then the next Member
    close()    -> end of data; raises if the archive stops inside a member
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.naming import key_text
from shardpack.format.not_tar import what_it_is
from shardpack.format.tar_extended import EXTENDED, MAX_EXTENDED_BYTES, ExtendedHeaders
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

# Offsets have at most 63 bits, so that the sum of two fits the index's unsigned columns.
MAX_ARCHIVE_BYTES = (1 << 63) - 1

_ZERO_BLOCK = bytes(BLOCK)

# Typeflags (POSIX ustar; GNU tar, tar.h).
_FILES = frozenset((b"0", b"\0", b"7"))
_OLD_FILE = b"\0"  # v7: a folder if its name ends with a slash
_SPARSE = b"S"
_LABEL = b"V"
# Links, devices, folders, FIFOs, volume labels: members without a payload. Tar readers disagree on whether
# bytes follow if the header has a size.
_BARE = frozenset((b"1", b"2", b"3", b"4", b"5", b"6", b"V"))
_LINKS = frozenset((b"1", b"2"))


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file in a tar. Offsets count from the start of the archive, in bytes."""

    name: str  # bytes that are not UTF-8 become surrogates (PEP 383), as in `os.fsdecode`
    member_offset: int  # first header block, extended ones included
    data_offset: int
    size: int

    @property
    def header_bytes(self) -> int:
        """Length of all headers before the payload."""
        return self.data_offset - self.member_offset


class TarParser:
    """Parses one archive from successive buffers. Not thread-safe.

    Holds at most one block and three extended headers, whatever the archive claims.

    Attributes:
        num_links: Number of hard and symbolic links so far, which are no members.
    """

    def __init__(self, shard: str, *, offset: int = 0):
        """Create a parser.

        Args:
            shard: Name of the archive, for errors.
            offset: Offset of the first byte that will be fed: 0, or the start of a member.
        """
        self._shard = shard
        self._position = offset  # offset of the byte that is fed next
        self._held = b""  # bytes of an unfinished header block
        self._payload = 0  # remaining payload bytes of the current member
        self._skip = 0  # remaining bytes to ignore: padding, or a member that is not a file
        self._member_offset: int | None = None  # offset of the next member's first extended header
        self._extended_kind = b""  # kind of the extended header being read
        self._extended_size = 0
        self._extended = bytearray()
        self._headers = ExtendedHeaders()  # extended headers of the next member
        self._end_of_data: int | None = None
        self.num_links = 0

    @property
    def finished(self) -> bool:
        """Whether the end-of-archive block was reached; bytes after it are ignored."""
        return self._end_of_data is not None

    @property
    def position(self) -> int:
        """Offset of the byte that is fed next."""
        return self._position

    @property
    def to_skip(self) -> int:
        """How many bytes `skip` may pass over: the rest of a payload and its padding."""
        return 0 if self._extended_kind else self._payload + self._skip

    @property
    def is_between_members(self) -> bool:
        """Whether a new parser that starts at `position` would yield what this one would."""
        return not (self.to_skip or self._held or self._extended_kind or self._member_offset is not None)

    def skip(self, num_bytes: int) -> None:
        """Pass over at most `to_skip` bytes as if they had been fed, without events for them."""
        assert num_bytes <= self.to_skip
        payload = min(num_bytes, self._payload)
        self._payload -= payload
        self._skip -= num_bytes - payload
        self._position += num_bytes

    def feed(self, data: bytes | memoryview) -> Iterator[Member | memoryview]:
        """Yield the members and payload parts in `data`. Exhaust the iterator before the next call.

        Raises:
            CorruptShardError: The archive is damaged, compressed or ambiguous; the error has shard and offset.
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
        """Return the offset at which members end: the first zero block, or the end of the file.

        A tar without a zero block is accepted; `finished` is False then.

        Raises:
            CorruptShardError: The archive is empty, or stops inside a member or header.
        """
        if self._end_of_data is not None:
            return self._end_of_data
        if self._position < BLOCK:
            raise self._not_a_tar(self._held)
        if self._held or self._payload or self._skip or self._headers:
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
        if kind in EXTENDED:
            self._begin_extended(EXTENDED[kind], self._size(block, offset), offset)
            return None
        if self._member_offset is None:
            return self._member(kind, self._header_name(block), self._size(block, offset), offset, offset)
        headers, self._headers = self._headers, ExtendedHeaders()
        member_offset, self._member_offset = self._member_offset, None
        name = headers.name or self._header_name(block)
        if kind == _LABEL and headers.name:
            raise self._error(
                "tar has a long name before a volume label; tar readers do not agree which member it names",
                offset,
                "create it again",
            )
        if headers.is_sparse:
            raise self._sparse(name, offset)
        self._check_slash(kind, headers, block, offset)
        size = self._size(block, offset)  # checked even if a pax size replaces it
        return self._member(kind, name, size if headers.size is None else headers.size, member_offset, offset)

    def _member(self, kind: bytes, name: bytes, size: int, member_offset: int, offset: int) -> Member | None:
        """Set how much payload and padding follow a header; return the member if it is a file."""
        ends_with_slash = kind in _FILES and name.endswith(b"/")
        if size and (kind in _BARE or ends_with_slash):
            raise self._error(
                f"tar has a link, folder, device or label that claims {size} bytes; "
                "tar readers do not agree whether they follow",
                offset,
                "create it again",
            )
        if kind in _BARE or (kind == _OLD_FILE and ends_with_slash):
            self.num_links += kind in _LINKS
            return None
        if kind == _SPARSE:
            raise self._sparse(name, offset)
        if size > MAX_ARCHIVE_BYTES - BLOCK - padded(offset + BLOCK):
            raise self._error(f"tar header claims {size} bytes, more than any archive can hold", offset)
        if kind not in _FILES:
            self._skip = padded(size)  # an unknown kind (D, M, ...): POSIX allows readers to ignore it
            return None
        self._payload, self._skip = size, -size % BLOCK
        return Member(key_text(name), member_offset, offset + BLOCK, size)

    def _check_slash(self, kind: bytes, headers: ExtendedHeaders, block: bytes, offset: int) -> None:
        """Raise if a slash at the end of one of two names makes a file a folder for some readers."""
        if kind not in _FILES or not headers.name:
            return
        # Python's tarfile judges a v7 file by the name in its header, and strips slashes from a pax path.
        own = kind == _OLD_FILE and block[NAME:MAX_NAME_BYTES].split(b"\0", 1)[0].endswith(b"/")
        differs = own and not headers.name.endswith(b"/")
        if differs or (headers.path.endswith(b"/") and not own):
            raise self._error(
                "tar has a member whose long name makes it a file to some tar readers and a folder to others",
                offset,
                "create it again",
            )

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
        # GNU headers have other fields where POSIX has the prefix.
        if block[PREFIX] and block[MAGIC : MAGIC + 6] == b"ustar\0":
            return block[PREFIX:HEADER_END].split(b"\0", 1)[0] + b"/" + name
        return name

    def _begin_extended(self, kind: bytes, size: int, offset: int) -> None:
        if size > MAX_EXTENDED_BYTES:
            raise self._error(
                f"tar has an extended header of {size} bytes, limit {MAX_EXTENDED_BYTES}",
                offset,
                "create it again without file attributes (tar --no-xattrs --no-acls), or with shorter names",
            )
        try:
            self._headers.check_order(kind)
        except ValueError as error:
            raise self._error(str(error), offset) from None
        if self._member_offset is None:
            self._member_offset = offset
        self._extended_kind, self._extended_size, self._extended = kind, size, bytearray()
        self._payload = padded(size)
        if not size:
            self._extend(memoryview(b""))

    def _extend(self, piece: memoryview) -> None:
        self._extended += piece
        if self._payload:
            return
        kind, self._extended_kind = self._extended_kind, b""
        content, padding = bytes(self._extended[: self._extended_size]), bytes(self._extended[self._extended_size :])
        try:
            self._headers.add(kind, content, padding)
        except ValueError as error:
            raise self._error(str(error), self._member_offset or 0) from None
        if not self._headers:  # a global header does not belong to a member
            self._member_offset = None

    def _end(self, offset: int) -> None:
        if self._headers:
            raise self._error("tar is damaged: no member follows an extended header", offset)
        self._end_of_data = offset

    def _sparse(self, name: bytes, offset: int) -> CorruptShardError:
        shown = key_text(name)
        return self._error(f"tar has a sparse member {shown!r}", offset, "create it again without --sparse")

    def _not_a_tar(self, start: bytes) -> CorruptShardError:
        what, advice = what_it_is(start, self._shard)
        return self._error(what, 0, advice)

    def _error(
        self, message: str, offset: int, advice: str = "copy the tar again, or create it again"
    ) -> CorruptShardError:
        return CorruptShardError(f"{message}; {advice}", shard=self._shard, offset=offset)

"""Archives in archives: a stored one is a part of the outer one; a deflated one is read once, from its start."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

from shardpack.errors import CorruptShardError
from shardpack.sources.archives.zip_directory import STORED
from shardpack.sources.archives.zip_store import ZipMember, payload_start
from shardpack.storage.base_store import Wrapper, raise_truncated
from shardpack.storage.protocols import Store, Version

_READ_BYTES = 1 << 20


class PartStore(Wrapper):
    """One object: a range of an object in another store. Safe in threads if that store is."""

    def __init__(self, base: Store, path: str, start: int, length: int) -> None:
        """Show a range of `path`; the object is called like it."""
        super().__init__(base)
        self._path, self._start, self._length = path, start, length

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        return self.get_ranges(path, starts=[start], lengths=[length])[0]

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return ranges of the part, read as the other store reads them."""
        for start, length in zip(starts, lengths, strict=True):
            if start < 0 or start + length > self._length:
                raise_truncated(path, start, length, self._length)
        begins = [self._start + start for start in starts]
        return self._base.get_ranges(self._path, starts=begins, lengths=lengths)

    def size(self, path: str) -> int:  # noqa: ARG002 - the protocol's names
        return self._length

    def version(self, path: str) -> Version:  # noqa: ARG002 - the protocol's names
        """Return the version of the object that this is a part of."""
        return self._base.version(self._path)


class MemberStream(Wrapper):
    """One member of a zip as an object that is cheap to read from its start to its end. Not safe in threads."""

    def __init__(self, base: Store, member: ZipMember) -> None:
        super().__init__(base)
        self._member = member
        self._pieces: Iterator[bytes] = iter(())
        self._position, self._rest = 0, b""

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a range. One that begins where the last ended goes on there; any other one reads from the start."""
        if start < 0 or start + length > self._member.size:
            raise_truncated(path, start, length, self._member.size)
        if start != self._position:
            self._position, self._pieces, self._rest = 0, self._inflated(), b""
            self._take(start)
        elif not start:
            self._pieces, self._rest = self._inflated(), b""
        return self._take(length)

    def size(self, path: str) -> int:  # noqa: ARG002 - the protocol's names
        return self._member.size

    def _take(self, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            piece = self._rest or next(self._pieces, b"")
            if not piece:
                raise self._damaged("it holds fewer bytes than its directory says")
            part, self._rest = piece[:missing], piece[missing:]
            parts.append(part)
            missing -= len(part)
        self._position += length
        if length and self._position == self._member.size and (self._rest or next(self._pieces, b"")):
            raise self._damaged("it holds more bytes than its directory says")
        return b"".join(parts)

    def _inflated(self) -> Iterator[bytes]:
        """Yield the payload in pieces, compared with its CRC-32 at the end."""
        member, checksum = self._member, 0
        begin = payload_start(self._base, member)
        inflater = None if member.method == STORED else zlib.decompressobj(-zlib.MAX_WBITS)
        for at in range(0, member.stored, _READ_BYTES):
            length = min(_READ_BYTES, member.stored - at)
            waiting = self._base.get_range(member.archive, start=begin + at, length=length)
            while waiting:
                piece = waiting
                try:
                    piece = waiting if inflater is None else inflater.decompress(waiting, _READ_BYTES)
                except zlib.error as error:
                    raise self._damaged(f"it cannot be inflated ({error})") from error
                waiting = b"" if inflater is None else inflater.unconsumed_tail
                checksum = zlib.crc32(piece, checksum)
                if piece:
                    yield piece
        if checksum != member.crc32:
            raise self._damaged("its CRC-32 differs")

    def _damaged(self, what: str) -> CorruptShardError:
        return CorruptShardError(
            f"member {self._member.name!r} of a zip archive is damaged: {what}; download the archive again",
            path=self._member.archive,
            offset=self._member.offset,
        )

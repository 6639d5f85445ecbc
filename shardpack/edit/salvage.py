"""The whole samples of a tar that breaks off or is damaged: its bytes up to there, and an end of the archive.

whole samples | half a sample, or bytes that are no tar      the broken tar, which stays as it is
whole samples | 1,024 zero bytes                             the new one
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.naming import split_name
from shardpack.format.tar_header import END_OF_ARCHIVE, padded
from shardpack.format.tar_parser import Member, TarParser
from shardpack.storage.protocols import Store

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Salvage:
    """What is whole of a broken tar.

    Attributes:
        shard: Name of the broken tar.
        num_bytes: Length of its part that has whole samples only.
        num_samples: How many these are.
        crc32c: CRC32C of this part.
        reason: What is wrong behind it.
    """

    shard: str
    num_bytes: int
    num_samples: int
    crc32c: int
    reason: str


def find_whole_samples(store: Store, name: str) -> Salvage:
    """Return what is whole of a broken tar. Reads it up to where it breaks off.

    A sample is whole if another one follows. The last one counts if its payloads are whole, and it has the fields of
    the one before it.
    """
    parser, samples, reason, checksum, length = TarParser(name), _Samples(), "", 0, 0
    try:
        for data in _chunks(store, name, store.size(name)):
            length += len(data)
            for event in parser.feed(data):
                if isinstance(event, Member):
                    samples.add(event)
        parser.close()
    except CorruptShardError as error:
        reason = str(error.args[0])
    end, count = samples.whole(length)
    for data in _chunks(store, name, end):
        checksum = crc32c(data, checksum)
    return Salvage(name, end, count, checksum, reason)


def salvaged_parts(store: Store, salvage: Salvage) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the new tar."""
    yield from _chunks(store, salvage.shard, salvage.num_bytes)
    yield END_OF_ARCHIVE


class _Samples:
    """The samples of a tar, as their members come."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._fields: list[set[str]] = [set(), set()]  # of the sample before, and of this one
        self._whole, self._count, self._end = 0, 0, 0  # end of the whole samples, their number; end of the last member

    def add(self, member: Member) -> None:
        """Take the next member."""
        found = split_name(member.name)
        self._end = member.data_offset + padded(member.size)
        if found is None:
            return
        key, field = found
        if key != self._key:
            if self._key is not None:
                self._whole, self._count = member.member_offset, self._count + 1
            self._key, self._fields = key, [self._fields[1], set()]
        self._fields[1].add(field)

    def whole(self, num_bytes: int) -> tuple[int, int]:
        """Return where the whole samples end, and how many they are, in a tar of this length."""
        before, last = self._fields
        if last and last == before and self._end <= num_bytes:
            return self._end, self._count + 1
        return self._whole, self._count


def _chunks(store: Store, name: str, end: int) -> Iterator[bytes | memoryview]:
    for start in range(0, end, _CHUNK_BYTES):
        yield store.get_range(name, start=start, length=min(_CHUNK_BYTES, end - start))

"""The whole samples of a tar that breaks off or is damaged: its bytes up to there, and an end of the archive.

whole samples | half a sample, or bytes that are no tar      the broken tar, which stays as it is
whole samples | 1,024 zero bytes                             the new one

Of a compressed tar the frames before the one that breaks off or is damaged count, and are compressed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from shardpack.codecs.compression import DEFAULT_LEVEL
from shardpack.codecs.zstd import zstandard
from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.frames import frames_of, seek_table
from shardpack.format.naming import split_name
from shardpack.format.tar_header import END_OF_ARCHIVE, padded
from shardpack.format.tar_parser import Member, TarParser
from shardpack.index.frame_scan import find_whole_frames, is_compressed
from shardpack.storage.frame_decoder import FrameDecoder
from shardpack.storage.protocols import Store

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Salvage:
    """What is whole of a broken tar.

    Attributes:
        shard: Name of the broken tar.
        num_bytes: Length of its part that has whole samples only; of a compressed one, of the tar inside.
        num_samples: How many these are.
        crc32c: CRC32C of this part.
        reason: What is wrong behind it.
        damaged: Keys of samples in this part that do not count, as their payloads are not those that were packed.
    """

    shard: str
    num_bytes: int
    num_samples: int
    crc32c: int
    reason: str
    damaged: tuple[str, ...] = ()


def find_whole_samples(store: Store, name: str) -> Salvage:
    """Return what is whole of a broken tar. Reads it up to where it breaks off.

    A sample is whole if another one follows. The last one counts if its payloads are whole, and it has the fields of
    the one before it.
    """
    parser, samples, reason, length = TarParser(name), _Samples(), "", 0
    try:
        for data in _content(store, name):
            length += len(data)
            for event in parser.feed(data):
                if isinstance(event, Member):
                    samples.add(event)
        parser.close()
        reason = "" if parser.finished else "it has no end of the archive"
    except CorruptShardError as error:
        reason = str(error.args[0])
    end, count = samples.whole(length)
    checksum = 0
    for data in _up_to(end, _content(store, name)):
        checksum = crc32c(data, checksum)
    return Salvage(name, end, count, checksum, reason)


def salvaged_parts(store: Store, salvage: Salvage) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the new tar, which is compressed if the broken one is.

    Raises:
        MissingDependencyError: It is compressed, and the package zstandard is not installed.
    """
    parts = _with_end(_up_to(salvage.num_bytes, _content(store, salvage.shard)))
    yield from _compressed(parts) if is_compressed(salvage.shard) else parts


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


def _content(store: Store, name: str) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a tar, of a compressed one those inside: frame by frame, up to one that is not whole."""
    size = store.size(name)
    if not is_compressed(name):
        for start in range(0, size, _CHUNK_BYTES):
            yield store.get_range(name, start=start, length=min(_CHUNK_BYTES, size - start))
        return
    frames, decoder = find_whole_frames(store, name, size), FrameDecoder()
    for number in range(len(frames)):
        at, length = frames.stored_at[number], frames.plain_at[number + 1] - frames.plain_at[number]
        data = store.get_range(name, start=at, length=frames.stop_of(number) - at)
        yield decoder.decode(data, length, name, at)


def _up_to(end: int, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the first `end` bytes of all pieces."""
    left = end
    for piece in pieces if left else ():
        yield piece[:left]
        left -= min(left, len(piece))
        if not left:
            return  # what follows may be damaged


def _with_end(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield the pieces of a tar, the last one with the end of the archive."""
    last: bytes | memoryview = b""
    for piece in pieces:
        if last:
            yield last
        last = piece
    yield bytes(last) + END_OF_ARCHIVE


def _compressed(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yield each piece as a frame, and the seek table."""
    compress = zstandard().ZstdCompressor(level=DEFAULT_LEVEL).compress
    lengths = []
    for piece in pieces:
        frame: bytes = compress(piece)
        lengths.append((len(frame), len(piece)))
        yield frame
    yield seek_table(frames_of(np.array(lengths, np.int64)))

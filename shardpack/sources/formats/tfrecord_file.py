"""TFRecord files: a chain of records, each with two checksums.

    u64 length | u32 masked CRC32C of the length | data | u32 masked CRC32C of the data        all little-endian

No header comes before, so that the first twelve bytes tell a TFRecord file from any other. The file as a whole may be
compressed as GZIP or ZLIB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from shardpack.errors import SourceError
from shardpack.format.checksum import crc32c
from shardpack.sources.formats.byte_stream import ByteStream
from shardpack.storage.protocols import RangeReader

HEADER, FOOTER = struct.Struct("<QI"), struct.Struct("<I")
OVERHEAD = HEADER.size + FOOTER.size
_MASK_DELTA = 0xA282EAD8
_GZIP = b"\x1f\x8b\x08"


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum as TFRecord stores it: rotated, plus a constant."""
    value = crc32c(data)
    return (((value >> 15) | (value << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def encode_record(data: bytes) -> bytes:
    """Return a record."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, FOOTER.pack(masked_crc32c(length)), data, FOOTER.pack(masked_crc32c(data))))


def is_header(head: bytes) -> bool:
    """Return whether these bytes begin a record."""
    return len(head) >= HEADER.size and HEADER.unpack_from(head)[1] == masked_crc32c(head[:8])


def compression_of(head: bytes) -> str | None:
    """Return "gzip" or "zlib" if a file that begins so is compressed, or None."""
    if head.startswith(_GZIP):
        return "gzip"
    # RFC 1950, 2.2: method 8 with a window of up to 32 KiB, and a check that both bytes are divisible by 31.
    is_zlib = len(head) >= 2 and head[0] & 15 == 8 and head[0] >> 4 <= 7 and (head[0] << 8 | head[1]) % 31 == 0
    return "zlib" if is_zlib and not is_header(head) else None


def read_records(stream: ByteStream, *, name: str, first: int = 0) -> Iterator[tuple[int, memoryview | None]]:
    """Yield (offset, data) of each record; data is None where its checksum differs.

    Args:
        stream: The file, from the start of a record.
        name: Its name, for messages.
        first: Number of that record, for messages.

    Raises:
        SourceError: The length of a record is damaged, so that no other can be found; or the file is cut short.
    """
    number = first
    while not stream.at_end():
        offset = stream.offset
        header = stream.take(HEADER.size, f"the header of record {number}")
        length = _checked_length(header, number, name, offset)
        data = stream.take(length, f"record {number}")
        (expected,) = FOOTER.unpack(stream.take(FOOTER.size, f"the checksum of record {number}"))
        yield offset, data if masked_crc32c(data) == expected else None
        number += 1


def runs_of_records(store: RangeReader, name: str, run_bytes: int) -> list[tuple[int, int, int]]:
    """Return (start, stop, records) of runs of records of an uncompressed file; reads 12 bytes of each record.

    Args:
        store: Has the file.
        name: Its name.
        run_bytes: Length from which on a run is ended.

    Raises:
        SourceError: A length is damaged, or the file is cut short.
    """
    size = store.size(name)
    runs: list[tuple[int, int, int]] = []
    start = at = count = number = 0
    while at < size:
        at = _behind(store, name, at, number, size)
        number, count = number + 1, count + 1
        if at - start >= run_bytes:
            runs.append((start, at, count))
            start, count = at, 0
    if count:
        runs.append((start, at, count))
    return runs


def skip(store: RangeReader, name: str, count: int, *, start: int, stop: int, first: int = 0) -> int:
    """Return the offset behind `count` records from `start` on, of which `first` is the number.

    Raises as `runs_of_records`.
    """
    at = start
    for number in range(count):
        at = _behind(store, name, at, first + number, stop)
    return at


def _behind(store: RangeReader, name: str, at: int, number: int, stop: int) -> int:
    """Return the offset behind the record at an offset."""
    if at + OVERHEAD > stop:
        raise SourceError(f"record {number} is cut short: {stop - at} bytes; copy the file again", path=name, offset=at)
    length = _checked_length(store.get_range(name, start=at, length=HEADER.size), number, name, at)
    left = stop - at - OVERHEAD
    if length > left:
        raise SourceError(
            f"record {number} is cut short: expected {length} bytes, got {left}; copy the file again",
            path=name,
            offset=at,
        )
    return at + OVERHEAD + length


def _checked_length(header: bytes | memoryview, number: int, name: str, offset: int) -> int:
    length, expected = HEADER.unpack(header)
    if masked_crc32c(header[:8]) != expected:
        raise SourceError(
            f"the length of record {number} does not have its checksum, so that no later record can be found; "
            "copy the file again",
            path=name,
            offset=offset,
        )
    return int(length)

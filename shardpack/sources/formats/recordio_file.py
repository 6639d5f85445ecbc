"""MXNet RecordIO: a chain of records, each with a header of labels before its payload.

part    u32 magic 0xced7230a | u32 flag << 29 | length | data | zeros up to a multiple of 4     little-endian
record  one part of flag 0; or parts of flags 1 (first), 2 (in the middle) and 3 (last), between which the writer
        has taken the magic out of the data, so that none stands in it
data    IRHeader: u32 flag | f32 label | u64 id | u64 id2; then `flag` f32 labels, if it is above 0; then the payload
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.byte_stream import ByteStream
from shardpack.storage.protocols import RangeReader

MAGIC = struct.pack("<I", 0xCED7230A)
PART, LABELS = struct.Struct("<4sI"), struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_LENGTH_BITS = 29


class Record(NamedTuple):
    """What a record holds: its id, its labels, and its payload, which is empty in records about others."""

    id: int
    labels: list[float]
    payload: memoryview


class Run(NamedTuple):
    """Records of a file, one behind the other.

    Attributes:
        start, stop: Where they are.
        first: Number of the first.
        num_records: How many they are.
        num_rows: How many of them are samples: the others have labels and no payload.
    """

    start: int
    stop: int
    first: int
    num_records: int
    num_rows: int


def parse_record(data: bytes | memoryview) -> Record:
    """Return the parts of a record's data.

    Raises:
        DecodeError: It is shorter than its header says.
    """
    view = memoryview(data)
    if len(view) < LABELS.size:
        raise DecodeError(f"{len(view)} bytes, expected at least the {LABELS.size} of a header")
    count, label, number, _ = LABELS.unpack_from(view)
    if count == 0:
        return Record(number, [label], view[LABELS.size :])
    end = LABELS.size + 4 * count
    if end > len(view):
        raise DecodeError(f"{len(view)} bytes, expected at least {end} for {count} labels")
    return Record(number, list(struct.unpack_from(f"<{count}f", view, LABELS.size)), view[end:])


def read_records(stream: ByteStream, *, name: str, first: int = 0) -> Iterator[tuple[int, bytes | memoryview]]:
    """Yield (offset, data) of each record.

    Args:
        stream: The file, from the start of a record.
        name: Its name, for messages.
        first: Number of that record, for messages.

    Raises:
        SourceError: A part is damaged, so that no record behind it can be found; or the file is cut short.
    """
    number = first
    while not stream.at_end():
        offset = stream.offset
        parts: list[memoryview] = []
        flag, begun = _FIRST, False
        while flag not in (_WHOLE, _LAST):
            flag, length = _checked(stream.take(PART.size, f"record {number}"), number, name, stream.offset - PART.size)
            if begun != (flag in (_MIDDLE, _LAST)):
                raise SourceError(f"record {number} has its parts in a wrong order", path=name, offset=offset)
            begun = True
            parts.append(stream.take(length, f"record {number}"))
            stream.take_padding(-length % 4)
        yield offset, parts[0] if len(parts) == 1 else MAGIC.join(parts)
        number += 1


def runs_of_records(store: RangeReader, name: str, run_bytes: int, see: Callable[[int], None]) -> list[Run]:
    """Return runs of records of a file; reads 32 bytes of each part.

    Args:
        store: Has the file.
        name: Its name.
        run_bytes: Length from which on a run is ended.
        see: Called with the id of each row.

    Raises:
        SourceError: A part is damaged, or the file is cut short.
    """
    size = store.size(name)
    runs: list[Run] = []
    start = at = count = rows = number = 0
    while at < size:
        at, has_payload, identity = _behind(store, name, at, number, size)
        number, count, rows = number + 1, count + 1, rows + has_payload
        if has_payload:
            see(identity)
        if at - start >= run_bytes:
            runs.append(Run(start, at, number - count, count, rows))
            start, count, rows = at, 0, 0
    if count:
        runs.append(Run(start, at, number - count, count, rows))
    return runs


def _behind(store: RangeReader, name: str, at: int, number: int, size: int) -> tuple[int, bool, int]:
    """Return (offset behind the record at an offset, whether it is a row, its id).

    A record with labels and no payload says something of others; one that is damaged is a row, though a bad one.
    """
    begin, flag, length = at, _FIRST, 0
    expected, identity = -1, 0
    while flag not in (_WHOLE, _LAST):
        head = store.get_range(name, start=at, length=min(PART.size + LABELS.size, size - at))
        flag, part = _checked(head, number, name, at)
        if at == begin and part >= LABELS.size and len(head) == PART.size + LABELS.size:
            count, _, identity, _ = LABELS.unpack_from(head, PART.size)
            expected = LABELS.size + 4 * count
        left = size - at - PART.size
        if part > left or (flag in (_FIRST, _MIDDLE) and part + -part % 4 >= left):
            raise SourceError(
                f"record {number} is cut short: expected {part} bytes, got {left}; copy the file again",
                path=name,
                offset=at,
            )
        length += part if at == begin else len(MAGIC) + part
        at = min(at + PART.size + part + -part % 4, size)
    return at, length != expected, identity


def _checked(head: bytes | memoryview, number: int, name: str, offset: int) -> tuple[int, int]:
    """Return (flag, length) of a part."""
    if len(head) < PART.size:
        raise SourceError(
            f"record {number} is cut short: {len(head)} bytes; copy the file again", path=name, offset=offset
        )
    magic, coded = PART.unpack_from(head)
    flag, length = coded >> _LENGTH_BITS, coded & (1 << _LENGTH_BITS) - 1
    if magic != MAGIC or flag > _LAST:
        raise SourceError(
            f"record {number} does not begin with the mark of RecordIO: expected {MAGIC.hex()}, got {magic.hex()} and "
            f"flag {flag}; copy the file again",
            path=name,
            offset=offset,
        )
    return flag, length

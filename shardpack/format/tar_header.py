"""Tar headers as shardpack writes them, one by one or many at once (SPEC 2.2).

Source: POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header". Every value that
could differ between two runs or machines is fixed: mode 0644, owner 0, mtime 0, no user names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar
from zlib import adler32

import numpy as np
import numpy.typing as npt

from shardpack.runtime.arrays import Integers

IntOrArray = TypeVar("IntOrArray", int, Integers)
BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
MAX_OCTAL_SIZE = 8**11 - 1  # eleven octal digits: 8 GiB - 1; larger sizes go into a pax record
MAX_NAME_BYTES = 100
MAX_PREFIX_BYTES = 155

# Offsets of the ustar header fields.
NAME, MODE, SIZE, MTIME, CHECKSUM, TYPE, LINK, MAGIC, PREFIX, END = 0, 100, 124, 136, 148, 156, 157, 257, 345, 500

REGULAR, PAX_NEXT = b"0", b"x"
PAX_NAME = b"././@PaxHeader"

_OWNER = b"%07o\0%07o\0%07o\0" % (0o644, 0, 0)  # mode, uid, gid
_MTIME = b"%011o\0" % 0
_BLANK_CHECKSUM = b" " * 8
_TAIL = b"ustar\x0000" + bytes(32 + 32) + b"%07o\0%07o\0" % (0, 0) + bytes(PREFIX - 345)


def padded(size: IntOrArray) -> IntOrArray:
    """Return a size, or each size of an array, rounded up to whole blocks."""
    return size + (BLOCK - 1) & -BLOCK


def header(name: bytes, size: int) -> bytes:
    """Return all header blocks of one regular member: 512 bytes, or more if it needs a pax header."""
    prefix, base = split_prefix(name)
    records = b""
    if base is None:
        records += pax_record(b"path", name)
        prefix, base = b"", name[:MAX_NAME_BYTES]
    if size > MAX_OCTAL_SIZE:
        records += pax_record(b"size", b"%d" % size)
    block = _block(prefix, base, size if size <= MAX_OCTAL_SIZE else 0, REGULAR)
    if not records:
        return block
    extended = _block(b"", PAX_NAME, len(records), PAX_NEXT)
    return extended + records + bytes(-len(records) % BLOCK) + block


def header_length(name: bytes, size: int) -> int:
    """Return `len(header(name, size))`, usually without building the header."""
    if len(name) <= MAX_NAME_BYTES and size <= MAX_OCTAL_SIZE:
        return BLOCK
    return len(header(name, size))


def split_prefix(name: bytes) -> tuple[bytes, bytes | None]:
    """Return (prefix, name) as ustar stores them; the name is None if only a pax header can hold it."""
    if len(name) <= MAX_NAME_BYTES:
        return b"", name
    cut = name.find(b"/", max(0, len(name) - MAX_NAME_BYTES - 1))
    if 0 < cut <= MAX_PREFIX_BYTES and cut + 1 < len(name):
        return name[:cut], name[cut + 1 :]
    return b"", None


def pax_record(keyword: bytes, value: bytes) -> bytes:
    """Return one record of a pax header; its length word counts itself."""
    fixed = len(keyword) + len(value) + 3
    length = fixed + 1
    while length != fixed + len(str(length)):
        length = fixed + len(str(length))
    return b"%d %s=%s\n" % (length, keyword, value)


def byte_sum(data: bytes | bytearray) -> int:
    """Return the sum of up to 512 bytes.

    The low half of Adler-32 is one plus that sum, modulo 65521: exact if no byte exceeds 127, and
    eight times as fast as a sum in Python.
    """
    return (adler32(data) & 0xFFFF) - 1 if data.isascii() else sum(data)


def _block(prefix: bytes, name: bytes, size: int, kind: bytes) -> bytes:
    block = bytearray(
        name.ljust(MAX_NAME_BYTES, b"\0")
        + _OWNER
        + b"%011o\0" % size
        + _MTIME
        + _BLANK_CHECKSUM
        + kind
        + bytes(100)
        + _TAIL
        + prefix.ljust(MAX_PREFIX_BYTES, b"\0")
    ).ljust(BLOCK, b"\0")
    block[CHECKSUM:TYPE] = b"%06o\0 " % byte_sum(block)
    return bytes(block)


PLAIN_HEADER = _block(b"", b"", 0, REGULAR)  # without name and size, for `complete_headers`
_PLAIN_SUM = byte_sum(PLAIN_HEADER[:CHECKSUM] + _BLANK_CHECKSUM + PLAIN_HEADER[TYPE:])


def unusual_members(name_lengths: Integers, sizes: Integers) -> Integers:
    """Return the numbers of the members that do not fit one plain header, see `complete_headers`."""
    return np.flatnonzero((name_lengths > MAX_NAME_BYTES) | (sizes > MAX_OCTAL_SIZE))


def complete_headers(
    blocks: npt.NDArray[np.uint8], rows: npt.NDArray[np.int64], names: Sequence[bytes], sizes: npt.NDArray[np.int64]
) -> None:
    """Turn blocks that are `PLAIN_HEADER` into the headers of many members, in place.

    `blocks[rows[i]]` becomes `header(names[i], sizes[i])`, at 0.2 us instead of 2 us, if that is one block
    with an empty prefix: names up to 100 bytes, sizes below 8 GiB. Blocks of other members are garbage,
    but do not affect their neighbours.

    Args:
        blocks: (n, 512) bytes.
        rows: (m) numbers of the blocks that are headers.
        names: (m) names of the members.
        sizes: (m) sizes of their payloads.
    """
    text = np.array(names, dtype=f"S{MAX_NAME_BYTES}").view(np.uint8).reshape(-1, MAX_NAME_BYTES)
    size = _octal(sizes, 11)
    sums = text.sum(axis=1, dtype=np.uint16) + size.sum(axis=1, dtype=np.uint16)
    blocks[rows, NAME:MODE] = text
    blocks[rows, SIZE : MTIME - 1] = size
    blocks[rows, CHECKSUM : CHECKSUM + 6] = _octal(sums + np.int64(_PLAIN_SUM - 11 * ord("0")), 6)


# The four octal digits of every number of twelve bits.
_FOUR_DIGITS = np.frombuffer(b"".join(b"%04o" % number for number in range(1 << 12)), "u4")


def _octal(numbers: npt.NDArray[Any], digits: int) -> npt.NDArray[np.uint8]:
    """Return the last octal digits of each number as text, one row per number."""
    groups = -(-digits // 4)
    text = np.empty((len(numbers), groups), "u4")
    for group in range(groups):
        text[:, groups - 1 - group] = _FOUR_DIGITS[numbers >> 12 * group & 0o7777]
    return text.view(np.uint8)[:, 4 * groups - digits :]


def parse_number(field: bytes) -> int:
    """Return the number in a header field: octal text, or base-256 with its top bit set (GNU).

    Raises:
        ValueError: The field has neither form.
    """
    text = field.split(b"\0", 1)[0].strip(b" ")
    if text.isdigit():
        return int(text, 8)
    if field[0] & 0x80:
        # Two's complement in all bits but the top one, which marks the form.
        number = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        return number - (1 << 8 * len(field) - 1) if field[0] & 0x40 else number
    # An empty field is 0. Digits after a leading NUL would be 0 to Python and a number to GNU tar.
    if text or field.strip(b" \0"):
        raise ValueError(f"not an octal number: {field!r}")
    return 0


def checksum_matches(block: bytes) -> bool:
    """Return whether a header block holds its own checksum: unsigned or, as old tools wrote it, signed."""
    try:
        stored = parse_number(block[CHECKSUM:TYPE])
    except ValueError:
        return False
    rest = block[:CHECKSUM] + _BLANK_CHECKSUM + block[TYPE:]
    unsigned = byte_sum(rest)
    return stored == unsigned or (not rest.isascii() and stored == unsigned - 256 * sum(byte > 127 for byte in rest))

"""Read whole objects and files in bounded memory, and compare them with the length and CRC32C they must have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shardpack.errors import CorruptShardError, ShardNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.storage.protocols import Store

RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 4  # per object: memory is the product of both
_READ_BYTES = 1 << 20


def read_object(store: Store, path: str, num_bytes: int) -> Iterator[bytes]:
    """Yield an object's first `num_bytes`, a few large ranges at a time."""
    for first in range(0, num_bytes, RANGE_BYTES * RANGES_AT_ONCE):
        starts = range(first, min(num_bytes, first + RANGE_BYTES * RANGES_AT_ONCE), RANGE_BYTES)
        yield from store.get_ranges(path, starts=starts, lengths=[min(RANGE_BYTES, num_bytes - at) for at in starts])


def checked_object(store: Store, name: str, *, num_bytes: int, checksum: int | None) -> Iterator[Any]:
    """Yield an object in pieces as `checked_pieces` does; one of another length is not read.

    Raises:
        CorruptShardError: The length or the CRC32C differs.
        ShardNotFoundError: The object does not exist.
    """
    if (size := store.size(name)) != num_bytes:
        checked = "" if checksum is None else f" with CRC32C {checksum:08x}"
        raise CorruptShardError(
            f"file in {store.location!r} is damaged: expected {num_bytes} bytes{checked}, got {size} bytes; "
            "restore it, then run the same command: it continues where it stopped",
            path=name,
        )
    pieces = read_object(store, name, num_bytes)
    yield from checked_pieces(pieces, name, num_bytes=num_bytes, checksum=checksum, location=store.location)


def read_file(path: Path) -> Iterator[memoryview]:
    """Yield a file in pieces of at most 1 MiB; each piece is valid until the next one."""
    buffer = memoryview(bytearray(_READ_BYTES))
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            yield buffer[:length]


def checked_pieces(
    pieces: Iterable[Any], name: str, *, num_bytes: int, checksum: int | None, location: str
) -> Iterator[Any]:
    """Yield pieces unchanged; after the last one, raise unless together they are the expected file.

    Args:
        pieces: Consecutive pieces of one file.
        name: Name of the file, for the error.
        num_bytes, checksum: Expected length and CRC32C; None if the CRC32C is unknown.
        location: Where the file is, for the error.

    Raises:
        CorruptShardError: The length or the CRC32C differs.
    """
    length = actual = 0
    for piece in pieces:
        length += len(piece)
        actual = crc32c(piece, actual)
        yield piece
    if length != num_bytes or checksum not in (None, actual):
        expected = f"{num_bytes} bytes" + ("" if checksum is None else f" with CRC32C {checksum:08x}")
        raise CorruptShardError(
            f"file in {location!r} is damaged: expected {expected}, got {length} with {actual:08x}; "
            "restore it, then run the same command: it continues where it stopped",
            path=name,
        )


def check_file(path: Path, name: str, *, num_bytes: int, checksum: int | None) -> None:
    """Read a local file and raise unless it is the expected one.

    Raises:
        CorruptShardError: The length or the CRC32C differs.
        ShardNotFoundError: The file does not exist.
    """
    pieces = checked_pieces(read_file(path), name, num_bytes=num_bytes, checksum=checksum, location=str(path.parent))
    try:
        for _ in pieces:
            pass
    except FileNotFoundError as error:
        raise ShardNotFoundError(f"a file of the dataset is missing: {str(path)!r}; restore it", path=name) from error

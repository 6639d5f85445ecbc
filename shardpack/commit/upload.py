"""Files between this machine and a store, in bounded memory, and the proof that they arrived."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.storage.clients.obstore import PART_BYTES
from shardpack.storage.protocols import Store, WritableStore

RANGE_BYTES = 8 << 20
RANGES_AT_ONCE = 4  # of one object: memory is the product of both
ATTEMPTS = 3
_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})(?:-(\d+))?"?')


def read_object(store: Store, path: str, num_bytes: int) -> Iterator[bytes]:
    """Yield an object's first `num_bytes`, a few large ranges at a time."""
    for first in range(0, num_bytes, RANGE_BYTES * RANGES_AT_ONCE):
        starts = range(first, min(num_bytes, first + RANGE_BYTES * RANGES_AT_ONCE), RANGE_BYTES)
        yield from store.get_ranges(path, starts=starts, lengths=[min(RANGE_BYTES, num_bytes - at) for at in starts])


def read_file(path: Path) -> Iterator[memoryview]:
    """Yield a file, a few MiB at a time; each piece is good until the next."""
    buffer = memoryview(bytearray(1 << 20))
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            yield buffer[:length]


def checked(pieces: Iterable[Any], name: str, *, num_bytes: int, checksum: int | None, whose: str) -> Iterator[Any]:
    """Yield pieces as they come; after the last, raise unless they are what the manifest says.

    Args:
        pieces: Of one file, in order.
        name: The file.
        num_bytes, checksum: What is expected; the CRC32C None if nobody knows it.
        whose: Where the file is, for the error.

    Raises:
        CorruptShardError: Length or CRC32C is not as expected.
    """
    length = found = 0
    for piece in pieces:
        length += len(piece)
        found = crc32c(piece, found)
        yield piece
    if length != num_bytes or checksum not in (None, found):
        expected = f"{num_bytes} bytes" + ("" if checksum is None else f" with CRC32C {checksum:08x}")
        raise CorruptShardError(
            f"file in {whose!r} is damaged: expected {expected}, got {length} with {found:08x}; "
            "restore it, then run the same command: it continues where it stopped",
            path=name,
        )


def check_file(path: Path, name: str, *, num_bytes: int, checksum: int | None) -> None:
    """Return if a local file is as the manifest says.

    Raises:
        CorruptShardError: It is not.
        ShardNotFoundError: There is none.
    """
    try:
        for _ in checked(read_file(path), name, num_bytes=num_bytes, checksum=checksum, whose=str(path.parent)):
            pass
    except FileNotFoundError as error:
        raise ShardNotFoundError(f"a file of the dataset is missing: {str(path)!r}; restore it", path=name) from error


class Sender:
    """Put objects into a store so that what arrived is known to be what was sent. Safe in threads.

    Each is verified after upload: its length, and its ETag where it is an MD5, as plain S3 has it.
    A bucket that encrypts has ETags which only look like one: the first object that does not fit is
    read back, and if it is whole, ETags tell nothing about this store.
    """

    def __init__(self, store: WritableStore) -> None:
        self._store = store
        self._etags_tell = True

    def put(self, name: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """Store bytes or a local file; see `WritableStore.put`.

        Raises:
            StorageError: The store refused, or something else arrived, more than once.
        """
        for _ in range(ATTEMPTS):
            self._store.put(name, source, cache_control=cache_control)
            if self._arrived(name, source):
                return
        self._store.delete(name)
        raise StorageError(
            f"cannot write {name!r}: other bytes arrive in {self._store.location!r} than were sent; "
            "check the network (or use https), then run the same command: it continues where it stopped",
            path=name,
        )

    def _arrived(self, name: str, source: bytes | Path) -> bool:
        num_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
        if self._store.size(name) != num_bytes:
            return False
        if not self._etags_tell:
            return True
        match = _MD5_ETAG.fullmatch(self._store.version(name).etag)
        if match is None or (match[1], match[2]) == _md5(source, parts=match[2] is not None):
            return True
        sent = _crc32c(read_file(source) if isinstance(source, Path) else [source])
        if sent != _crc32c(read_object(self._store, name, num_bytes)):
            return False
        self._etags_tell = False
        return True


def _crc32c(pieces: Iterable[Any]) -> int:
    found = 0
    for piece in pieces:
        found = crc32c(piece, found)
    return found


def _md5(source: bytes | Path, *, parts: bool) -> tuple[str, str | None]:
    """Return what S3 makes the ETag of: the MD5, or that of the parts' MD5s, and the number of parts."""
    if isinstance(source, bytes):
        return _digest([source]).hex(), None
    if not parts:
        return _digest(read_file(source)).hex(), None
    digests = []
    with open(source, "rb") as file:
        while part := file.read(PART_BYTES):
            digests.append(_digest([part]))
    return _digest(digests).hex(), str(len(digests))


def _digest(pieces: Iterable[Any]) -> bytes:
    found = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        found.update(piece)
    return found.digest()

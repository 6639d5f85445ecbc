"""Index a local tar by reading it once, from end to end, so that every payload has a checksum.

`header_scan.py` reads little more than the headers instead.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shardpack.errors import ShardNotFoundError, StorageError
from shardpack.format.checksum import crc32c
from shardpack.index.grouping import IndexedTar
from shardpack.index.tar_scan import TarScan
from shardpack.runtime.progress import Advance, no_advance

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TarFile:
    """A local tar, and the patterns of members to ignore in it."""

    folder: str
    name: str
    ignore: Sequence[str]


def scan_whole(tar: TarFile, advance: Advance = no_advance) -> IndexedTar:
    """Return the index of a local tar, with checksums.

    Reads the file once. What follows the end of the archive counts only for the checksum of the file.

    Args:
        tar: The tar to read.
        advance: Called with the number of bytes after each piece of the file.

    Raises:
        CorruptShardError: The file is not a plain tar, is damaged or truncated, has no samples, or a
            sample has a field twice.
        ShardNotFoundError: The file is missing.
        StorageError: The file cannot be read, or is a FIFO, socket or device.
    """
    scan = TarScan(tar.name, ignore=tar.ignore)
    num_bytes = checksum = 0
    try:
        for data in _chunks(os.path.join(tar.folder, tar.name), tar.name):
            num_bytes += len(data)
            checksum = crc32c(data, checksum)
            scan.feed(data)
            advance(len(data))
    except FileNotFoundError as error:
        raise ShardNotFoundError("the tar is missing; restore it", shard=tar.name) from error
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot read the tar: {error.strerror}; try again", shard=tar.name) from error
    return scan.finish(num_bytes=num_bytes, shard_crc32c=checksum)


def _chunks(path: str, name: str) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK_BYTES))
    with open(path, "rb", buffering=0, opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise StorageError("cannot read the tar: it is a FIFO, socket or device, not a file", shard=name)
        while length := file.readinto(buffer):
            yield buffer[:length]


def _open_at_once(path: str, flags: int) -> int:
    """Return a descriptor of a file, without waiting for a writer if it is a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

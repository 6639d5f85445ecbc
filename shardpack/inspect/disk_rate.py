"""Measure how fast a disk is read: a temporary file is written to it, dropped from the page cache, and read back."""

from __future__ import annotations

import os
import tempfile
import time

from shardpack.storage.atomic import storage_errors
from shardpack.storage.local_file import drop_from_cache

FILE_BYTES = 256 << 20
CHUNK_BYTES = 4 << 20


def disk_rate(folder: str | os.PathLike[str], num_bytes: int = FILE_BYTES) -> float | None:
    """Return bytes per second of one sequential read; None where pages cannot be dropped from memory.

    Writes and deletes a file of `num_bytes` in the folder. A folder in memory (tmpfs) is as fast as memory.

    Raises:
        StorageError: The folder cannot be written to.
    """
    block = os.urandom(CHUNK_BYTES)  # some disks compress
    then = "try again, or name another folder (--scratch)"
    writing = storage_errors(f"write to {os.fspath(folder)!r}", then=then)
    with writing, tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(-(-num_bytes // CHUNK_BYTES)):
            file.write(block)
        if not drop_from_cache(file.fileno()):
            return None
        file.seek(0)
        total, buffer = 0, bytearray(CHUNK_BYTES)
        began = time.perf_counter()
        while count := file.readinto(buffer):
            total += count
        return total / (time.perf_counter() - began)

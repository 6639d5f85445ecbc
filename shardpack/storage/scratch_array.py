"""Large arrays that are made once and kept: in a temporary file, so that the system can take their memory back."""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

FILE_FROM_BYTES = 16 << 20


def scratch_array(
    length: int, dtype: npt.DTypeLike, *, folder: str | None = None, file_from_bytes: int = FILE_FROM_BYTES
) -> npt.NDArray[Any]:
    """Return an array of zeros to write.

    A long one is a map of a file without a name, which is gone with the array. Its pages are page cache: forked
    children share them, and they do not count as memory of the process. Where a file has no room it is in memory, too.

    Args:
        length: Number of values.
        dtype: Type of a value.
        folder: Where the file is; None for the system's temporary folder.
        file_from_bytes: Size from which an array is in a file.
    """
    size = length * np.dtype(dtype).itemsize
    if size >= max(1, file_from_bytes) and hasattr(os, "posix_fallocate"):
        with suppress(OSError):
            return np.frombuffer(_map_new_file(size, folder), dtype)
    return np.zeros(length, dtype)


def _map_new_file(size: int, folder: str | None) -> mmap.mmap:
    """Return a map to write of a new file that has its room on the disk: a page without would end the process."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, size)
        return mmap.mmap(file.fileno(), size)

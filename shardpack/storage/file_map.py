"""Files mapped into memory, to be read through slices. Such a map takes no descriptor, of which a process may have few.

`mmap.mmap` holds one open, unless Python 3.13 or later is told not to: shells often allow 1,024, macOS 256, while of
maps Linux allows 65,530. Before, the C library makes the map, and an array of `ctypes` slices it, to `bytes` and as
fast. On Windows a map takes what it takes.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import sys
import weakref
from functools import cache
from typing import Any

_CAN_LEAVE_DESCRIPTOR = sys.version_info >= (3, 13)
TAKES_DESCRIPTOR = os.name == "nt" or (not _CAN_LEAVE_DESCRIPTOR and ctypes.sizeof(ctypes.c_void_p) < 8)
NO_ROOM = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}  # what the system says when there are too many maps or descriptors
_LARGE_BYTES = 256 << 10


def map_file(descriptor: int, size: int) -> Any:
    """Return a read-only map of a file, which must not be empty: slices of it are `bytes`. Never written to.

    Raises:
        OSError, ValueError: The system refused.
    """
    if _CAN_LEAVE_DESCRIPTOR or TAKES_DESCRIPTOR:
        return map_with_mmap(descriptor, size)
    return _map_with_libc(descriptor, size)


def map_with_mmap(descriptor: int, size: int) -> mmap.mmap:
    """Return what `map_file` does, as a buffer that anything can read; it may take a descriptor."""
    options: dict[str, Any] = {"trackfd": False} if _CAN_LEAVE_DESCRIPTOR and os.name != "nt" else {}
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_READ, **options)


def _map_with_libc(descriptor: int, size: int) -> Any:
    libc = _libc()
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    array = (ctypes.c_char * size).from_address(address)
    weakref.finalize(array, libc.munmap, address, size).atexit = False
    return array


@cache
def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_int64]
    libc.munmap.argtypes = [pointer, size]
    libc.madvise.argtypes = [pointer, size, number]
    return libc


def drop_resident(buffer: Any) -> None:
    """Let go of the memory that a large map takes; the page cache keeps the bytes, and use brings them back."""
    if isinstance(buffer, bytes) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    if isinstance(buffer, mmap.mmap) and len(buffer) > _LARGE_BYTES:
        buffer.madvise(mmap.MADV_DONTNEED)
    elif isinstance(buffer, ctypes.Array) and len(buffer) > _LARGE_BYTES:
        _libc().madvise(ctypes.addressof(buffer), len(buffer), mmap.MADV_DONTNEED)

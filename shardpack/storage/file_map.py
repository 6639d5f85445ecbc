"""Memory maps of files, read through slices. They take no descriptor, of which a process may have few.

`mmap.mmap` keeps a descriptor open, except in Python 3.13 and later on request. Shells often allow 1,024 descriptors,
macOS 256; Linux allows 65,530 maps. On older Pythons the C library makes the map, and a `ctypes` array slices it, to
`bytes` and as fast. On Windows a map keeps a descriptor.
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
NO_ROOM = {errno.ENOMEM, errno.EMFILE, errno.ENFILE}  # too many maps or descriptors
_LARGE_BYTES = 256 << 10


def map_file(descriptor: int, size: int) -> Any:
    """Return a read-only map of a file that is not empty; its slices are `bytes`.

    Raises:
        OSError, ValueError: The system refused.
    """
    if _CAN_LEAVE_DESCRIPTOR or TAKES_DESCRIPTOR:
        return map_with_mmap(descriptor, size)
    return _map_with_libc(descriptor, size)


def map_with_mmap(descriptor: int, size: int) -> mmap.mmap:
    """Return a map as `map_file` does, as a buffer for any reader; it may keep a descriptor."""
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
    """Release the memory of a large map; the page cache keeps the bytes, and the next access maps them again."""
    if isinstance(buffer, bytes) or not hasattr(mmap, "MADV_DONTNEED"):
        return
    if isinstance(buffer, mmap.mmap) and len(buffer) > _LARGE_BYTES:
        buffer.madvise(mmap.MADV_DONTNEED)
    elif isinstance(buffer, ctypes.Array) and len(buffer) > _LARGE_BYTES:
        _libc().madvise(ctypes.addressof(buffer), len(buffer), mmap.MADV_DONTNEED)

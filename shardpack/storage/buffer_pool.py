"""Memory that blocks are received into, used again once nobody holds it.

Fresh memory costs more than the bytes that are received into it: the system clears each page of it
first. A stream holds some dozens of blocks and lets go of one as it takes another; what it is given
stays warm (0.6 s of CPU a GB less, 2-core VM). Between two epochs it holds none: what is kept then, beyond
a little, is marked as free for the system to take, should it need it.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

_STEP_BYTES = 1 << 20  # sizes are rounded up, so that blocks of much the same length share memory
_LEAST_BYTES = 256 << 10  # shorter ranges: the usual allocator keeps such memory by itself
_MOST_BYTES = 16 << 20
_KEPT_BYTES = 128 << 20  # between two epochs; within one, what is given back is given out again at once
_FREE_BYTES = 512 << 20  # more, that the system may take back


class PooledBuffer:
    """A read-only buffer whose slices are `bytes`; its memory goes back when this object does."""

    __slots__ = ("_length", "_map", "_pool", "view")

    def __init__(self, pool: BufferPool, memory: mmap.mmap, length: int) -> None:
        self._pool, self._map, self._length = pool, memory, length
        self.view = memoryview(memory)[:length]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, key: slice) -> bytes:
        return self._map[key]

    def __del__(self) -> None:
        self.view.release()
        self._pool.give_back(self._map)


class BufferPool:
    """Lends memory and takes it back. Safe in threads, and wherever the garbage collector may run: without a lock."""

    def __init__(self, *, kept_bytes: int = _KEPT_BYTES, free_bytes: int = _FREE_BYTES) -> None:
        """Hold nothing yet.

        Args:
            kept_bytes: Memory that is kept for the next block.
            free_bytes: More that is kept as long as the system does not need it.
        """
        self._kept_bytes = kept_bytes
        self._max_bytes = kept_bytes + (free_bytes if hasattr(mmap, "MADV_FREE") else 0)
        self._idle: dict[int, list[mmap.mmap]] = {}
        self.idle_bytes = 0  # about: what two threads do at once may count for one

    def get(self, length: int) -> PooledBuffer | None:
        """Return memory for a block; None for a length that ordinary memory is as good for."""
        if not _LEAST_BYTES <= length <= _MOST_BYTES:
            return None
        size = -(-length // _STEP_BYTES) * _STEP_BYTES
        for fitting in range(size, 2 * size + 1, _STEP_BYTES):
            try:
                memory = self._idle[fitting].pop()
            except (KeyError, IndexError):
                continue
            self.idle_bytes -= fitting
            return PooledBuffer(self, memory, length)
        return PooledBuffer(self, _new_memory(size), length)

    def give_back(self, memory: mmap.mmap) -> None:
        """Keep memory for the next block, unless enough is kept."""
        size = len(memory)
        if self.idle_bytes + size > self._max_bytes:
            return
        if self.idle_bytes + size > self._kept_bytes:
            memory.madvise(mmap.MADV_FREE)
        self.idle_bytes += size
        self._idle.setdefault(size, []).append(memory)

    def clear(self) -> None:
        """Let go of what is kept."""
        self._idle, self.idle_bytes = {}, 0


def view_of(buffer: bytes | PooledBuffer) -> memoryview:
    """Return a view of what a store has read; not to be kept longer than the buffer."""
    return buffer.view if isinstance(buffer, PooledBuffer) else memoryview(buffer)


def _new_memory(size: int) -> mmap.mmap:
    options: dict[str, Any] = {}
    if os.name != "nt":
        options["flags"] = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # a forked child has a copy of its own
        # All pages at once, where the system can: a fault each takes 0.4 s of CPU a GB more (2-core VM, 2026-11-21).
        options["flags"] |= getattr(mmap, "MAP_POPULATE", 0)
    return mmap.mmap(-1, size, **options)

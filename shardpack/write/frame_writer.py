"""Compress a plain tar into a shard of frames, with the seek table at the end (SPEC 2.6).

    assembler --buffers--> `WriteBehind` --thread--> `FrameWriter` --frames--> file

Where frames end follows from the ends of the samples alone, so that the same samples give the same frames however
they come in buffers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from shardpack.codecs.zstd import zstandard
from shardpack.format.checksum import crc32c
from shardpack.format.frames import Frames, seek_table
from shardpack.format.shard_index import ShardIndex
from shardpack.write.shard_compression import MAX_WRITTEN_FRAME_BYTES, ShardCompression


class FrameWriter:
    """Compresses one shard, front to back. `end_samples` may be called while another thread is in `write`.

    Memory: a frame, which is at most 64 MiB, or the last buffer.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        compression: ShardCompression,
        *,
        max_frame_bytes: int = MAX_WRITTEN_FRAME_BYTES,
    ) -> None:
        """Write frames by calling `write`.

        Raises:
            MissingDependencyError: The package zstandard is not installed.
        """
        self._write, self._frame_bytes, self._max_frame_bytes = write, compression.frame_bytes, max_frame_bytes
        self._compress: Callable[[Any], bytes] = zstandard().ZstdCompressor(level=compression.level).compress
        self._ends: list[int] = []  # of the samples, in the plain tar
        self._next = 0  # number of the first sample end that is not used yet
        self._held: list[bytes] = []  # what belongs to a frame that is not full yet
        self._received = 0  # bytes of the plain tar
        self._stored, self._plain = [0], [0]  # where frames begin and end, in the file and in the plain tar
        self._crc32c = 0

    def end_samples(self, ends: Iterable[int]) -> None:
        """Add where samples end in the plain tar, ascending, before the buffer that holds their ends is written."""
        self._ends.extend(ends)

    def write(self, buffer: memoryview) -> None:
        """Compress what fills frames, and hold the rest."""
        offset, self._received = self._received, self._received + len(buffer)
        frames = []
        at = 0  # in the buffer
        while (end := self._frame_end()) is not None:
            frames.append(self._frame(buffer[at : end - offset], end))
            at = end - offset
        if at < len(buffer):
            self._held.append(bytes(buffer[at:]))
        self._put(b"".join(frames))

    def finish(self, index: ShardIndex) -> ShardIndex:
        """Write the last frame and the seek table; return the index of the plain tar as that of this file."""
        last = self._frame(memoryview(b""), self._received) if self._held else b""
        frames = Frames(np.array(self._stored, "<u8"), np.array(self._plain, "<u8"))
        table = seek_table(frames)
        self._put(last + table)
        num_bytes = self._stored[-1] + len(table)
        return replace(index, shard_bytes=num_bytes, shard_crc32c=self._crc32c, frames=frames)

    def _frame_end(self) -> int | None:
        """Return where the frame that was begun ends; None if it is not full yet."""
        begin, ends = self._plain[-1], self._ends
        self._next = bisect_left(ends, begin + self._frame_bytes, self._next)
        longest = begin + self._max_frame_bytes
        end = min(ends[self._next], longest) if self._next < len(ends) else longest
        return end if end <= self._received else None

    def _frame(self, part: memoryview, end: int) -> bytes:
        frame = self._compress(b"".join([*self._held, part]) if self._held else part)
        self._held.clear()
        self._stored.append(self._stored[-1] + len(frame))
        self._plain.append(end)
        return frame

    def _put(self, data: bytes) -> None:
        if data:
            self._crc32c = crc32c(data, self._crc32c)
            self._write(data)

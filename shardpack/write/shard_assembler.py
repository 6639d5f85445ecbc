"""Assemble members into tar bytes, one buffer at a time, and collect what the index needs.

The only place that makes shard bytes: the planned run and `ShardWriter` both use it, so equal input gives equal
bytes. Payloads are read directly into their place in the buffer, or copied there if they are in memory. The headers
of a buffer are made all at once (`tar_header.complete_headers`). While `WriteBehind` writes one buffer in a thread, the
next one is assembled.

    buffer   | header | payload | padding | header | payload | padding | ...     whole 512-byte blocks
"""

from __future__ import annotations

import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import tar_header as tar
from shardpack.format.assemble import build_index
from shardpack.format.checksum import crc32c
from shardpack.format.shard_index import ShardIndex

BUFFER_BYTES = 4 << 20

Fill = Callable[[Sequence[memoryview]], None]  # writes the payloads of a call into these views, one view each

_PLAIN_HEADER = np.frombuffer(tar.PLAIN_HEADER, np.uint8)
_PADDING = [bytes(-size % tar.BLOCK) for size in range(tar.BLOCK)]  # by the number of bytes in the last block


class ShardAssembler:
    """Assembles one shard.

    Memory: two buffers, or the two largest samples, plus 24 bytes per member.

    Attributes:
        num_bytes: Length of the tar so far.
    """

    def __init__(self, write: Callable[[memoryview], object], buffer: Buffer):
        """Pass each assembled buffer to `write`. The memory of a buffer is reused two buffers later."""
        self._write = write
        self._buffer = buffer
        self._crc32c = 0
        self.num_bytes = 0
        self._data_offset: list[npt.NDArray[np.int64]] = []
        self._header_bytes: list[npt.NDArray[np.int64]] = []
        self._payload_crc32c: list[int] = []

    def append(self, names: Sequence[bytes], sizes: npt.NDArray[np.int64], fill: Fill) -> list[int]:
        """Append members in order; return the CRC32C of each payload. `fill(views)` must fill every view completely."""
        layout = _lay_out(names, sizes)
        view = self._buffer.take(layout.num_bytes)
        ends = layout.data_starts + sizes
        payloads = [view[a:b] for a, b in zip(layout.data_starts.tolist(), ends.tolist(), strict=True)]
        fill(payloads)
        np.frombuffer(view, np.uint8).reshape(-1, tar.BLOCK)[layout.header_rows] = _PLAIN_HEADER
        return self._append(view, layout, list(map(crc32c, payloads)))

    def append_payloads(self, names: Sequence[bytes], sizes: npt.NDArray[np.int64], payloads: Sequence[bytes]) -> None:
        """Append members whose payloads are in memory; half the cost of `append` with a `fill` that copies."""
        layout = _lay_out(names, sizes)
        parts = [tar.PLAIN_HEADER] * (3 * len(payloads))
        for i in layout.unusual:
            parts[3 * i] = bytes(int(layout.header_bytes[i]))
        parts[1::3] = payloads
        parts[2::3] = map(_PADDING.__getitem__, (sizes % tar.BLOCK).tolist())
        self._append(self._buffer.join(parts, layout.num_bytes), layout, list(map(crc32c, payloads)))

    def _append(self, view: memoryview, layout: _Layout, checksums: list[int]) -> list[int]:
        """Complete the headers of an otherwise finished buffer, write it, and return `checksums`."""
        starts = layout.data_starts
        blocks = np.frombuffer(view, np.uint8).reshape(-1, tar.BLOCK)
        tar.complete_headers(blocks, layout.header_rows, layout.names, layout.sizes)
        for i in layout.unusual:
            end = int(starts[i])
            view[end - int(layout.header_bytes[i]) : end] = tar.header(layout.names[i], int(layout.sizes[i]))
        self._payload_crc32c += checksums
        self._data_offset.append(starts + self.num_bytes)
        self._header_bytes.append(layout.header_bytes)
        self._put(view)
        return checksums

    def _put(self, view: memoryview) -> None:
        self._crc32c = crc32c(view, self._crc32c)
        self._write(view)
        self.num_bytes += len(view)

    def finish(
        self,
        keys: Sequence[str],
        start: npt.NDArray[np.int64],
        codes: npt.NDArray[Any],
        fields: Sequence[str],
        sizes: npt.NDArray[np.int64],
    ) -> ShardIndex:
        """Write the end of the archive, and return the index of all members.

        Args:
            keys: (n) keys of the samples.
            start: (n + 1) first member of each sample.
            codes: (m) number of each member's field in `fields`.
            fields: Field names in any order; those without a member are dropped.
            sizes: (m) payload bytes.
        """
        end_of_data = self.num_bytes
        self._put(memoryview(tar.END_OF_ARCHIVE))
        return build_index(
            keys=keys,
            fields=fields,
            row=np.repeat(np.arange(len(keys)), np.diff(start)),
            code=codes,
            data_offset=np.concatenate(self._data_offset),
            size=sizes,
            crc32c=self._payload_crc32c,
            header_bytes=np.concatenate(self._header_bytes),
            shard_bytes=self.num_bytes,
            shard_crc32c=self._crc32c,
            end_of_data=end_of_data,
        )


class _Joined(BytesIO):
    """Memory that may be collected together with a view of it: from Python 3.13 on, that would print an error."""

    def close(self) -> None:
        with suppress(BufferError):
            super().close()


class Buffer:
    """Memory to assemble in: two halves, one of which is filled while the other is being written.

    Attributes:
        num_bytes: How many bytes are assembled and written at once.
    """

    def __init__(self, num_bytes: int = BUFFER_BYTES) -> None:
        self.num_bytes = num_bytes
        self._memory = self._other = np.zeros(0, np.uint8)
        self._files = [(_Joined(), memoryview(b"")), (_Joined(), memoryview(b""))]  # joined parts, and the view of them

    def take(self, num_bytes: int) -> memoryview:
        """Return `num_bytes` zero bytes, in memory that the call before the last one returned, too."""
        self._memory, self._other = self._other, self._memory
        if num_bytes > self.num_bytes:
            return memoryview(np.zeros(num_bytes, np.uint8))  # a large sample; not kept
        if not len(self._memory):
            self._memory = np.zeros(self.num_bytes, np.uint8)
        self._memory[:num_bytes] = 0
        return memoryview(self._memory)[:num_bytes]

    def join(self, parts: Iterable[bytes], num_bytes: int) -> memoryview:
        """Return the parts joined, `num_bytes` long, in memory that the call before the last one returned, too."""
        if num_bytes > self.num_bytes:
            return memoryview(bytearray().join(parts))  # a large sample; not kept
        file, before = self._files.pop(0)
        before.release()
        file.seek(0)
        file.writelines(parts)
        view = file.getbuffer()[:num_bytes]
        self._files.append((file, view))
        return view

    def release(self) -> None:
        """Give the memory back; views of it are no longer valid."""
        for _, view in self._files:
            with suppress(BufferError):  # somebody else still looks at it
                view.release()
        self._memory = self._other = np.zeros(0, np.uint8)

    def __del__(self, is_exiting: Callable[[], bool] = sys.is_finalizing) -> None:
        """Release the views first: the garbage collector of Python 3.13 complains where a file goes before its view."""
        if not is_exiting():  # else modules may be gone already
            self.release()


class WriteBehind:
    """Calls `write` with each buffer, in order, in a thread. A context manager; leaving it waits for the last write.

    The producer fills one buffer while the previous one is written. The write releases the GIL: packing
    200,000 small files took 1.9 s instead of 2.3 s (2-core VM).
    """

    def __init__(self, write: Callable[[memoryview], object]) -> None:
        self._buffers: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(1)
        self._errors: list[BaseException] = []  # one at most
        work = write, self._buffers, self._idle, self._errors
        self._thread = threading.Thread(target=_write_each, args=work, name="shardpack write-behind", daemon=True)
        weakref.finalize(self, self._buffers.put, None).atexit = False  # dropped: the thread ends by itself

    def __enter__(self) -> WriteBehind:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._buffers.put(None)
        self._thread.join()
        if kind is None and self._errors:
            raise self._errors[0]

    def write(self, buffer: memoryview) -> None:
        """Accept a buffer once the previous one is written; it must not change until the next call returns.

        Raises:
            OSError: `write` failed for an earlier buffer.
        """
        self._idle.acquire()
        if self._errors:
            self._idle.release()
            raise self._errors[0]
        self._buffers.put(buffer)


def _write_each(
    write: Callable[[memoryview], object],
    buffers: queue.SimpleQueue[memoryview | None],
    idle: threading.Semaphore,
    errors: list[BaseException],
) -> None:
    """Write until None comes, or the first error. It knows nothing of the `WriteBehind`, which may be dropped first."""
    while (buffer := buffers.get()) is not None:
        try:
            if not errors:
                write(buffer)
        except BaseException as error:  # noqa: BLE001 - raised in the producer's thread
            errors.append(error)
        finally:
            idle.release()


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the members of a buffer are in it.

    Attributes:
        names: (m) names of the members.
        sizes: (m) payload bytes.
        header_bytes: (m) length of all headers of each member.
        data_starts: (m) where each payload begins.
        header_rows: (m) number of the block before each payload.
        unusual: Numbers of the members that do not fit one plain header.
        num_bytes: Length of the buffer.
    """

    names: Sequence[bytes]
    sizes: npt.NDArray[np.int64]
    header_bytes: npt.NDArray[np.int64]
    data_starts: npt.NDArray[np.int64]
    header_rows: npt.NDArray[np.int64]
    unusual: list[int]
    num_bytes: int


def _lay_out(names: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> _Layout:
    header_bytes = np.full(len(names), tar.BLOCK, np.int64)
    unusual = tar.unusual_members(np.fromiter(map(len, names), np.int64, len(names)), sizes).tolist()
    for i in unusual:
        header_bytes[i] = tar.header_length(names[i], int(sizes[i]))
    data_bytes = tar.padded(sizes)
    ends = np.cumsum(header_bytes + data_bytes)
    data_starts = ends - data_bytes
    header_rows = data_starts // tar.BLOCK - 1
    return _Layout(names, sizes, header_bytes, data_starts, header_rows, unusual, int(ends[-1]))

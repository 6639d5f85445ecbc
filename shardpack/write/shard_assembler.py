"""Lay members out as tar bytes, a chunk at a time, and keep what the index needs to know of them.

The one place that makes shard bytes: the planned run and `ShardWriter` both go through it, so
equal input gives equal bytes. Payloads are loaded straight to their place in the chunk; headers
are made for the whole chunk at once (`format.tar.plain_headers`).

    chunk   | header | payload | pad | header | payload | pad | ...     whole 512-byte blocks
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format import tar_header as tar
from shardpack.format.checksum import crc32c
from shardpack.format.index_builder import build_index
from shardpack.format.shard_index import ShardIndex

CHUNK_BYTES = 4 << 20

Fill = Callable[[Sequence[memoryview]], None]  # gets the places of all payloads of a call


class ShardAssembler:
    """Assemble one shard. `write` gets chunks, each of which stays as it is until the next but one is begun.

    Memory: two chunks, or the two largest samples, plus 24 bytes a member.
    """

    def __init__(self, write: Callable[[memoryview], object], chunk: Chunk):
        self._write = write
        self._chunk = chunk
        self._crc32c = 0
        self.num_bytes = 0
        self._data_offset: list[npt.NDArray[np.int64]] = []
        self._header_bytes: list[npt.NDArray[np.int64]] = []
        self._payload_crc32c: list[int] = []

    def append(self, names: Sequence[bytes], sizes: npt.NDArray[np.int64], fill: Fill) -> list[int]:
        """Append members in order; return the CRC32C of each payload. `fill(views)` must fill each view, whole."""
        header_bytes = np.full(len(names), tar.BLOCK, np.int64)
        unusual = _unusual(names, sizes)
        for i in unusual:
            header_bytes[i] = tar.header_length(names[i], int(sizes[i]))
        ends = np.cumsum(header_bytes + -(-sizes // tar.BLOCK) * tar.BLOCK)
        data_starts = ends - -(-sizes // tar.BLOCK) * tar.BLOCK
        view = self._chunk.take(int(ends[-1]))
        payloads = [view[a:b] for a, b in zip(data_starts.tolist(), (data_starts + sizes).tolist(), strict=True)]
        fill(payloads)
        checksums = list(map(crc32c, payloads))
        self._payload_crc32c += checksums
        blocks = np.frombuffer(view, np.uint8).reshape(-1, tar.BLOCK)
        blocks[data_starts // tar.BLOCK - 1] = tar.plain_headers(names, sizes)
        for i in unusual:
            end = int(data_starts[i])
            view[end - int(header_bytes[i]) : end] = tar.header(names[i], int(sizes[i]))
        self._data_offset.append(data_starts + self.num_bytes)
        self._header_bytes.append(header_bytes)
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
        """Write the end of the archive and return the index of all that was appended.

        Args:
            keys: (n) of the samples.
            start: (n + 1) first member of each sample.
            codes: (m) number of each member's field in `fields`.
            fields: Field names, sorted; those no member has are dropped.
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


class Chunk:
    """Two zeroed buffers to assemble in, by turns: one is filled while the other is being written."""

    def __init__(self, num_bytes: int = CHUNK_BYTES) -> None:
        """Args: num_bytes: How many are laid out and written at once."""
        self.num_bytes = num_bytes
        self._buffer = self._other = np.zeros(0, np.uint8)

    def take(self, num_bytes: int) -> memoryview:
        """Return `num_bytes` zero bytes. The chunk before the last one must be done with."""
        self._buffer, self._other = self._other, self._buffer
        if num_bytes > self.num_bytes:
            return memoryview(np.zeros(num_bytes, np.uint8))  # a large sample; not kept
        if not len(self._buffer):
            self._buffer = np.zeros(self.num_bytes, np.uint8)
        self._buffer[:num_bytes] = 0
        return memoryview(self._buffer)[:num_bytes]


def _unusual(names: Sequence[bytes], sizes: npt.NDArray[np.int64]) -> list[int]:
    """Return the members that do not fit one plain header."""
    too_large = np.flatnonzero(sizes > tar.MAX_OCTAL_SIZE).tolist() if len(sizes) else []
    if max(map(len, names), default=0) > tar.MAX_NAME_BYTES:
        too_large = sorted({*too_large, *(i for i, name in enumerate(names) if len(name) > tar.MAX_NAME_BYTES)})
    return too_large

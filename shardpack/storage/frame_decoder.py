"""Frames of a compressed shard into plain bytes, never more than the index says (SPEC 2.6).

A frame's own header is compared with the index before anything is decompressed, so that a small file cannot claim
much memory. Decompressors are not safe in threads: each thread has one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from shardpack.codecs.zstd import zstandard
from shardpack.errors import CorruptShardError

UNKNOWN = -1  # content size of a frame that was written as a stream


class FrameDecoder:
    """Decompresses the frames of one store's shards. Safe in threads; pickles without its decompressors."""

    def __init__(self) -> None:
        self._own = threading.local()

    def __reduce__(self) -> tuple[type[FrameDecoder], tuple[()]]:
        return (FrameDecoder, ())

    def decode(self, data: bytes | memoryview, num_bytes: int, path: str, offset: int) -> bytes:
        """Return what one frame holds; bytes behind it are not looked at.

        Args:
            data: The frame.
            num_bytes: What it holds, by the index.
            path, offset: Of the frame, for errors.

        Raises:
            CorruptShardError: It is not a frame, is damaged, or holds more or less.
        """
        module = zstandard()
        try:
            found: int = module.frame_content_size(data)
            if found in (num_bytes, UNKNOWN):
                plain: bytes = self._decompressor(module).decompress(data, max_output_size=num_bytes)
                found = len(plain)
                if found == num_bytes:
                    return plain
        except module.ZstdError as error:
            raise _damaged(str(error), path, offset) from error
        raise _damaged(f"it holds {found} bytes, the index says {num_bytes}", path, offset)

    def decode_into(
        self,
        data: memoryview,
        starts: Sequence[int],
        lengths: Sequence[int],
        *,
        view: memoryview,
        path: str,
        offset: int,
    ) -> None:
        """Fill a view with what some frames hold that lie one behind the other; the last one may hold more.

        Takes three quarters of the time of decompressing each frame by itself.

        Args:
            data: The frames.
            starts, lengths: Where each begins in `data`, and what it holds, by the index.
            view: To be filled from the first byte of the first frame.
            path, offset: Of the first frame, for errors.
        """
        module = zstandard()
        try:
            for at, expected in zip(starts, lengths, strict=True):
                found = module.frame_content_size(data[at:])
                if found == UNKNOWN:  # only decompressing tells
                    self._decode_each(data, starts, lengths, view=view, path=path, offset=offset)
                    return
                if found != expected:
                    raise _damaged(f"it holds {found} bytes, the index says {expected}", path, offset + at)
            with self._decompressor(module).stream_reader(data, read_across_frames=True) as reader:
                while view and (length := reader.readinto(view)):
                    view = view[length:]
        except module.ZstdError as error:
            raise _damaged(str(error), path, offset) from error
        if view:
            raise _damaged(f"frames hold {len(view)} bytes less than the index says", path, offset)

    def _decode_each(
        self,
        data: memoryview,
        starts: Sequence[int],
        lengths: Sequence[int],
        *,
        view: memoryview,
        path: str,
        offset: int,
    ) -> None:
        for at, length in zip(starts, lengths, strict=True):
            plain = self.decode(data[at:], length, path, offset + at)[: len(view)]
            view[: len(plain)] = plain
            view = view[len(plain) :]

    def _decompressor(self, module: Any) -> Any:
        try:
            return self._own.decompressor
        except AttributeError:
            self._own.decompressor = module.ZstdDecompressor()
            return self._own.decompressor


def _damaged(what: str, path: str, offset: int) -> CorruptShardError:
    return CorruptShardError(
        f"a zstd frame is damaged, or not the one that the index tells of: {what}; restore the shard, then run "
        '"shardpack verify --full"',
        path=path,
        offset=offset,
    )

"""Decompress frames of a shard, never to more bytes than the index says (SPEC 2.6).

A frame's own header is compared with the index before anything is decompressed, so that a small file cannot claim
much memory. Decompressors are not safe in threads: each thread has one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress

from shardpack.codecs.zstd import zstandard
from shardpack.errors import CorruptShardError
from shardpack.runtime.sizes import format_bytes

UNKNOWN = -1  # content size of a frame that was written as a stream
_MAX_RATIO = 32 << 10  # a block of 4 bytes holds 128 KiB at most (RFC 8878, section 3.1.1.2)
_MAX_WINDOW_BYTES = 128 << 20  # that libzstd accepts where a frame is not decompressed in one go


class _Own(threading.local):
    """What each thread has: made when it is first used there."""

    def __init__(self) -> None:
        self.decompressor = zstandard().ZstdDecompressor()
        self.decompress = self.decompressor.decompress


class FrameDecoder:
    """Decompresses the frames of one store's shards. Safe in threads; pickles without its decompressors."""

    def __init__(self) -> None:
        self._own = _Own()

    def __reduce__(self) -> tuple[type[FrameDecoder], tuple[()]]:
        return (FrameDecoder, ())

    def decode(self, data: bytes | memoryview, num_bytes: int, path: str, offset: int) -> bytes:
        """Return what one frame holds; bytes behind it are not looked at.

        Args:
            data: The frame.
            num_bytes: What it holds, by the index.
            path, offset: Where the frame is, for errors.

        Raises:
            CorruptShardError: It is not a frame, is damaged, or holds more or less.
        """
        module = zstandard()
        try:
            found: int = module.frame_content_size(data)
            if found in (num_bytes, UNKNOWN):
                if num_bytes > _MAX_RATIO * len(data):
                    raise _damaged(f"{len(data)} bytes cannot hold {num_bytes}", path, offset)
                plain: bytes = self._own.decompress(data, num_bytes)
                found = len(plain)
                if found == num_bytes:
                    return plain
        except module.ZstdError as error:
            raise _refused(error, data, path, offset) from error
        raise _damaged(f"it holds {found} bytes, the index says {num_bytes}", path, offset)

    def decode_run(
        self,
        data: memoryview,
        starts: list[int],
        lengths: list[int],
        *,
        skip: int,
        length: int,
        path: str,
        offset: int,
    ) -> bytes:
        """Return a range of the content of adjacent frames, decompressed in one go.

        Args:
            data: The frames.
            starts, lengths: Where each begins in `data`, and what it holds, by the index.
            skip, length: The range, from the first byte of the first frame; the last frame may hold more.
            path, offset: Where the first frame is, for errors.

        Raises:
            CorruptShardError: One is not a frame, is damaged, or holds more or less.
        """
        module = zstandard()
        if skip + length > _MAX_RATIO * len(data):
            raise _damaged(f"{len(data)} bytes cannot hold {skip + length}", path, offset)
        content_size = module.frame_content_size
        try:
            if [content_size(data[at:]) for at in starts] != lengths:  # it is damaged, or only decompressing tells
                return self._decode_each(data, starts, lengths, path, offset)[skip : skip + length]
            with self._own.decompressor.stream_reader(data, read_across_frames=True) as reader:
                if skip:
                    reader.read(skip)
                plain: bytes = reader.read(length)
        except module.ZstdError:  # one is damaged, or has a window that only decompressing it in one go does without
            return self._decode_each(data, starts, lengths, path, offset)[skip : skip + length]
        if len(plain) < length:
            raise _damaged(f"frames hold {length - len(plain)} bytes less than the index says", path, offset)
        return plain

    def _decode_each(
        self, data: memoryview, starts: Sequence[int], lengths: Sequence[int], path: str, offset: int
    ) -> bytes:
        each = zip(starts, lengths, strict=True)
        return b"".join([self.decode(data[at:], length, path, offset + at) for at, length in each])


def _window(frame: bytes | memoryview) -> int:
    window: int = zstandard().get_frame_parameters(frame).window_size
    return window


def _refused(error: Exception, frame: bytes | memoryview, path: str, offset: int) -> CorruptShardError:
    """Return the error for a frame that libzstd refused."""
    with suppress(zstandard().ZstdError):
        if (window := _window(frame)) > _MAX_WINDOW_BYTES:
            return CorruptShardError(
                f"a zstd frame does not say how much it holds, and needs a window of {format_bytes(window)}, more than "
                f"{format_bytes(_MAX_WINDOW_BYTES)}; recompress it without --long",
                path=path,
                offset=offset,
            )
    return _damaged(str(error), path, offset)


def _damaged(what: str, path: str, offset: int) -> CorruptShardError:
    return CorruptShardError(
        f"a zstd frame is damaged, or not the one that the index describes: {what}; restore the shard, then run "
        '"shardpack verify --full"',
        path=path,
        offset=offset,
    )

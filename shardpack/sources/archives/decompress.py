"""What a compressed file holds, in order and in pieces of a few MiB, whatever it claims to hold."""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Any

from shardpack.codecs.zstd import zstandard
from shardpack.errors import SourceError
from shardpack.format.not_tar import advice_for, compression_of
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.formats.byte_stream import READ_BYTES, inflate
from shardpack.storage.protocols import Store

Pieces = Iterator[bytes]
_HEAD_BYTES = 4096
_ZSTD_BYTES = 1024
_MAX_MEMORY_BYTES = 256 << 20  # that a decompressor may take for its window


def decompressed(store: Store, path: str, *, advance: Advance = no_advance) -> Pieces:
    """Yield what a file compressed by gzip, zstd, bzip2 or xz holds, by its first bytes; a plain file as it is.

    Args:
        store: Store of the file.
        path: Its path there.
        advance: Called with the number of compressed bytes read since the previous call.

    Raises:
        SourceError: The file is damaged or cut short, or compressed in another way.
        MissingDependencyError: It is compressed by zstd, and zstandard is not installed.
    """
    size = store.size(path)
    compression = compression_of(bytes(store.get_range(path, start=0, length=min(_HEAD_BYTES, size))))
    pieces = _read(store, path, size, advance)
    if compression is None:
        return pieces
    if compression.name not in _READERS:
        raise SourceError(f"compressed with {compression.name}; {advice_for(compression, path)}", path=path)
    return _READERS[compression.name](pieces, path)


def _read(store: Store, path: str, size: int, advance: Advance) -> Pieces:
    for start in range(0, size, READ_BYTES):
        piece = bytes(store.get_range(path, start=start, length=min(READ_BYTES, size - start)))
        yield piece
        advance(len(piece))


def _gzip(pieces: Pieces, path: str) -> Pieces:
    return inflate(pieces, name=path, codec="gzip")


def _streams(new: Callable[[], Any], errors: type[Exception] | tuple[type[Exception], ...], codec: str) -> Any:
    """Return a reader of streams, one behind the other, by decompressors as those of bz2 and lzma are."""

    def read(pieces: Pieces, path: str) -> Pieces:
        decompressor, begun = new(), False
        try:
            for piece in pieces:
                waiting = piece
                while waiting or (begun and not decompressor.needs_input and not decompressor.eof):
                    if decompressor.eof:
                        if not waiting.strip(b"\0"):
                            break  # tools fill up blocks with zeros
                        decompressor, begun = new(), False
                    data, begun = decompressor.decompress(waiting, READ_BYTES), True
                    waiting = decompressor.unused_data if decompressor.eof else b""
                    if data:
                        yield data
        except errors as error:
            raise SourceError(f"damaged {codec} stream: {error}; copy the file again", path=path) from error
        if begun and not decompressor.eof:
            raise SourceError(f"the {codec} stream is cut short; copy the file again", path=path)

    return read


def _zstd(pieces: Pieces, path: str) -> Pieces:
    """Yield what zstd frames hold. A few bytes may hold a block of 128 KiB, so few are handed over at once."""
    module = zstandard()
    decompressor = module.ZstdDecompressor(max_window_size=_MAX_MEMORY_BYTES // 2)
    frame, ended = decompressor.decompressobj(), True
    found: list[bytes] = []
    num_bytes = 0
    try:
        for piece in pieces:
            for first in range(0, len(piece), _ZSTD_BYTES):
                waiting = piece[first : first + _ZSTD_BYTES]
                while waiting:
                    if frame.eof:
                        frame = decompressor.decompressobj()
                    found.append(frame.decompress(waiting))
                    num_bytes += len(found[-1])
                    waiting, ended = frame.unused_data, frame.eof
                if num_bytes >= READ_BYTES:
                    yield b"".join(found)
                    found, num_bytes = [], 0
    except module.ZstdError as error:
        raise SourceError(f"damaged zstd stream: {error}; copy the file again", path=path) from error
    if not ended:
        raise SourceError("the zstd stream is cut short; copy the file again", path=path)
    yield b"".join(found)


_READERS: dict[str, Callable[[Pieces, str], Pieces]] = {
    "gzip": _gzip,
    "zstd": _zstd,
    "bzip2": _streams(bz2.BZ2Decompressor, (OSError, ValueError), "bzip2"),
    "xz": _streams(lambda: lzma.LZMADecompressor(memlimit=_MAX_MEMORY_BYTES), (lzma.LZMAError, ValueError), "xz"),
}

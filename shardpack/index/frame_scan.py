"""Index a compressed tar by reading it once: where its frames are, and what the tar inside holds.

    seek table, or else the headers of frames and blocks --> frames --decompressed one by one--> tar parser

A tar that was compressed as a whole has one frame, which cannot be entered in the middle; it is refused.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from shardpack.codecs.zstd import zstandard
from shardpack.errors import CorruptShardError
from shardpack.format.checksum import crc32c
from shardpack.format.frames import (
    COMPRESSED_SUFFIX,
    FOOTER_BYTES,
    MAX_FRAME_BYTES,
    MAX_FRAMES,
    SKIPPABLE_HEADER_BYTES,
    Frames,
    frames_of,
    parse_seek_table,
    seek_table_bytes,
    skippable_end,
)
from shardpack.format.not_tar import compression_of, what_it_is
from shardpack.format.tar_header import BLOCK, checksum_matches
from shardpack.index.grouping import IndexedTar
from shardpack.index.tar_scan import TarScan
from shardpack.runtime.progress import Advance, no_advance
from shardpack.storage.frame_decoder import UNKNOWN, FrameDecoder
from shardpack.storage.protocols import Store

PIECE_BYTES = 4 << 20  # of the file, read at once; or one frame
_HEADER_BYTES = 18  # of a frame, at most (RFC 8878, section 3.1.1.1)
_BLOCK_HEADER_BYTES = 3
_RLE = 1  # a type of block: one byte, repeated
_CHECKSUM_BYTES = 4
_HAS_CHECKSUM = 0x04  # of the frame header's descriptor, its fifth byte


def is_compressed(name: str) -> bool:
    """Return whether a tar of this name is read as a compressed one."""
    return name.endswith(COMPRESSED_SUFFIX)


def scan_compressed(
    store: Store,
    name: str,
    *,
    ignore: Sequence[str],
    frames: Frames | None = None,
    advance: Advance = no_advance,
) -> IndexedTar:
    """Return the index of a compressed tar, with checksums. Reads the file once; memory: a frame, or 4 MiB.

    Args:
        store: The store with the file.
        name: Its name.
        ignore: Patterns of members to ignore.
        frames: The frames according to an index; None to find them.
        advance: Called with the number of bytes after each piece of the file.

    Raises:
        CorruptShardError: The file is not made of frames that can be read one by one, or not of those that are given;
            or the tar inside is damaged, has no samples, or a sample has a field twice.
        ShardNotFoundError: The file is missing.
        StorageError: The file cannot be read.
    """
    size = store.size(name)
    table = _seek_table(store, name, size)
    by_table = None if table is None else _frames_by_table(table, size)
    if frames is None:
        frames = by_table or find_frames(store, name, size, has_table=table is not None)
    elif by_table is not None and not frames.same_as(by_table):
        raise CorruptShardError("seek table and index disagree; restore the files that belong together", path=name)
    scan, decoder = TarScan(name, ignore=ignore, plain_name=name.removesuffix(".zst")), FrameDecoder()
    checksum = _outside(store, name, 0, frames.stored_at[0])
    for first, stop in _pieces(frames):
        begin, end, read_to = frames.stored_at[first], frames.stored_at[stop], frames.stop_of(stop - 1)
        data = memoryview(store.get_range(name, start=begin, length=read_to - begin))
        checksum = _checksum(store, name, read_to, end, crc32c(data, checksum))
        for number in range(first, stop):
            at, after = frames.stored_at[number : number + 2]
            length = frames.plain_at[number + 1] - frames.plain_at[number]
            try:
                plain = decoder.decode(data[at - begin : after - begin], length, name, at)
            except CorruptShardError:
                if after == read_to or after < end:
                    raise
                plain = decoder.decode(store.get_range(name, start=at, length=end - at), length, name, at)
            with _in_file(name):
                scan.feed(plain)
        advance(end - begin)
    checksum = _outside(store, name, frames.stored_at[len(frames)], size, checksum)
    advance(size - frames.stored_at[len(frames)])
    with _in_file(name):
        indexed = scan.finish(num_bytes=frames.plain_bytes, shard_crc32c=checksum)
    return replace(indexed, index=replace(indexed.index, shard_bytes=size, frames=frames))


@contextmanager
def _in_file(name: str) -> Iterator[None]:
    """Name the compressed file in errors about the tar inside, whose name lacks `.zst`."""
    try:
        yield
    except CorruptShardError as error:
        raise CorruptShardError(error.args[0], shard=name, key=error.key, offset=error.offset) from error


def _pieces(frames: Frames) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of runs of frames that are read at once."""
    starts, first = frames.stored, 0
    while first < len(frames):
        stop = int(np.searchsorted(starts, starts[first] + np.uint64(PIECE_BYTES), side="right")) - 1
        stop = min(max(stop, first + 1), len(frames))
        yield first, stop
        first = stop


def _outside(store: Store, name: str, begin: int, end: int, checksum: int = 0) -> int:
    """Return the checksum continued over bytes that no frame of the index has: skippable and empty frames."""
    reader = _Ahead(store, name, end)
    at = begin
    while at < end:
        after, plain = _next_frame(reader, at, name)
        if plain:
            raise CorruptShardError(
                "there are bytes that belong to no frame of the index; restore the file", path=name, offset=at
            )
        at = after
    if at > end:
        raise CorruptShardError("the file ends inside a skippable frame; restore it", path=name, offset=end)
    return _checksum(store, name, begin, end, checksum)


def _checksum(store: Store, name: str, begin: int, end: int, checksum: int) -> int:
    """Return a checksum continued over a range, of which only a piece is in memory at a time."""
    for at in range(begin, end, PIECE_BYTES):
        checksum = crc32c(store.get_range(name, start=at, length=min(PIECE_BYTES, end - at)), checksum)
    return checksum


# Where the frames are


def _seek_table(store: Store, name: str, size: int) -> bytes | None:
    """Return the seek table at the end of a file; None if the file has none."""
    if size < FOOTER_BYTES:
        return None
    length = seek_table_bytes(store.get_range(name, start=size - FOOTER_BYTES, length=FOOTER_BYTES))
    return store.get_range(name, start=size - length, length=length) if length and length <= size else None


def _frames_by_table(table: bytes, size: int) -> Frames | None:
    """Return the frames that a seek table lists; None if they are not all of the file before it."""
    lengths = parse_seek_table(table)
    if lengths is None or int(lengths[:, 0].sum()) != size - len(table) or not lengths[:, 1].any():
        return None
    if int(lengths[:, 1].max()) > MAX_FRAME_BYTES:
        return None  # the scan of the frames refuses it, before anything is decompressed
    return frames_of(lengths)


def find_frames(store: Store, name: str, size: int, *, has_table: bool = False) -> Frames:
    """Return the frames of a file, found by their headers and those of their blocks. Reads the file once.

    Raises:
        CorruptShardError: It cannot be read frame by frame.
    """
    lengths = array("q")  # in the file, and of the content, of each frame
    for pair in _lengths(_Ahead(store, name, size), name):
        lengths.extend(pair)
    pairs = _pairs(lengths)
    content = int(np.count_nonzero(pairs[:, 1]))
    if not content:
        raise CorruptShardError("not a tar: the file is empty; copy it again, or leave it out", path=name)
    if content == 1 and not has_table:
        raise _recompress("it is compressed as a whole, in one frame", name)
    return frames_of(pairs)


def find_whole_frames(store: Store, name: str, size: int) -> Frames:
    """Return the frames of a file that breaks off or is damaged, up to there; perhaps none."""
    lengths = array("q")
    with suppress(CorruptShardError):
        for pair in _lengths(_Ahead(store, name, size), name):
            lengths.extend(pair)
    return frames_of(_pairs(lengths))


def _pairs(lengths: array[int]) -> npt.NDArray[np.int64]:
    return np.frombuffer(lengths, np.int64).reshape(-1, 2) if lengths else np.empty((0, 2), np.int64)


def _lengths(reader: _Ahead, name: str) -> Iterator[tuple[int, int]]:
    """Yield of each frame how long it is in the file, and how much it holds."""
    at = count = 0
    while at < reader.size:
        end, plain = _next_frame(reader, at, name)
        if end > reader.size:
            raise CorruptShardError("the file is truncated inside a zstd frame; restore it", path=name, offset=at)
        if plain == UNKNOWN:
            raise _recompress(
                "it has no seek table, and its frames do not say how much they hold, as those of a pipe", name
            )
        if plain > MAX_FRAME_BYTES or count == MAX_FRAMES:
            raise _recompress("it has a frame that holds more than 1 GiB, or too many frames", name)
        yield end - at, plain
        at, count = end, count + 1


def _next_frame(reader: _Ahead, at: int, name: str) -> tuple[int, int]:
    """Return where a frame ends in the file, and what it holds: 0 for a skippable one, or `UNKNOWN`."""
    module, head = zstandard(), reader.read(at, _HEADER_BYTES)
    if len(head) >= SKIPPABLE_HEADER_BYTES and (length := skippable_end(head)) is not None:
        return at + length, 0
    try:
        plain = module.frame_content_size(head)
        end = at + module.frame_header_size(head)
    except module.ZstdError as error:
        raise _no_frame(reader.read(at, BLOCK), str(error), name, at) from error
    is_last, stored = False, 0
    while not is_last:
        header = int.from_bytes(reader.read(end, _BLOCK_HEADER_BYTES), "little")
        is_last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        stored += length
        end += _BLOCK_HEADER_BYTES + (1 if kind == _RLE else length)
        if end > reader.size:
            return end, plain
    return end + (_CHECKSUM_BYTES if head[4] & _HAS_CHECKSUM else 0), plain if stored else 0


def _no_frame(start: bytes, why: str, name: str, at: int) -> CorruptShardError:
    """Return the error for bytes that begin no frame; `start` are the first of them."""
    compression = compression_of(start)
    if at or (compression is not None and compression.name == "zstd"):
        return CorruptShardError(f"not a zstd frame: {why}; restore the file", path=name, offset=at)
    own = name.rpartition("/")[2]
    plain = own.removesuffix(".zst")
    if len(start) == BLOCK and checksum_matches(start):
        what, advice = "a plain tar", f"rename it to {plain!r}"
    elif compression is not None:
        what = f"compressed with {compression.name}"
        advice = f'decompress it to a plain tar: "{compression.command} < {own} > {plain}"'
    else:
        what, advice = what_it_is(start, "")
    return CorruptShardError(f"not compressed with zstd, but {what}; {advice}", path=name)


class _Ahead:
    """Reads a few bytes here and there, ever further on, out of long ranges."""

    def __init__(self, store: Store, name: str, size: int) -> None:
        self._store, self._name, self.size = store, name, size
        self._begin, self._data = 0, b""

    def read(self, start: int, length: int) -> bytes:
        """Return bytes, fewer at the end of the file."""
        end = min(start + length, self.size)
        if end > self._begin + len(self._data):
            self._begin = start
            self._data = self._store.get_range(
                self._name, start=start, length=min(PIECE_BYTES, max(0, self.size - start))
            )
        return self._data[start - self._begin : end - self._begin]


def _recompress(why: str, name: str) -> CorruptShardError:
    return CorruptShardError(
        f"no samples can be read by themselves: {why}; recompress with shardpack pack: index the "
        'decompressed tar, then "shardpack pack --compress shards=zstd:3"',
        path=name,
    )

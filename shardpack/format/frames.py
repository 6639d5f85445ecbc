"""The frames of a compressed shard: where each is stored, what it holds of the plain tar, and the seek table.

`Frames` are the two columns of an index (SPEC 4); the seek table at the end of the file (SPEC 2.6) says the same to
readers of the seekable format. Nothing is compressed here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

COMPRESSED_SUFFIX = ".tar.zst"
MAX_FRAME_BYTES = 1 << 30  # of the plain tar, in one frame: the limit of the seekable format
MAX_FRAMES = 1 << 27  # in one file, likewise
SKIPPABLE_HEADER_BYTES = 8
FOOTER_BYTES = 9
SEEK_TABLE_MAGIC = b"\x5e\x2a\x4d\x18"  # a skippable frame, number 14
FOOTER_MAGIC = b"\xb1\xea\x92\x8f"
# One of 16 magic numbers, a length, and that many bytes; lz4 has the same.
_SKIPPABLE = frozenset(bytes((0x50 + number, 0x2A, 0x4D, 0x18)) for number in range(16))
_HAS_CHECKSUMS = 0x80
_UNDEFINED_FLAGS = 0x7F  # of the descriptor


HOP_BYTES = 64 << 10  # of skippable frames behind a frame: so few are read along with it


@dataclass(frozen=True, slots=True)
class StoredRange:
    """Where a range of the plain tar is stored.

    Attributes:
        start, length: Range of the file, whole frames.
        inside: Where the range begins in what these frames hold.
    """

    start: int
    length: int
    inside: int


@dataclass(frozen=True, eq=False)
class Frames:
    """Where z - 1 frames are stored, and what they hold of the plain tar.

    Frame i is bytes stored[i] to stored[i + 1] of the file; it holds bytes plain[i] to plain[i + 1] of the tar.

    Attributes:
        stored: (z) offsets in the file, ascending.
        plain: (z) offsets in the plain tar, ascending from 0.
    """

    stored: npt.NDArray[np.uint64]
    plain: npt.NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.stored) - 1

    def __reduce__(self) -> tuple[type[Frames], tuple[Any, Any]]:
        return (Frames, (self.stored, self.plain))

    @property
    def num_bytes(self) -> int:
        """Memory that both columns take."""
        return self.stored.nbytes + self.plain.nbytes

    def copy(self) -> Frames:
        """Return frames that keep nothing else in memory: columns may be views of a whole index."""
        return Frames(self.stored.copy(), self.plain.copy())

    @property
    def plain_bytes(self) -> int:
        """Length of the plain tar."""
        return int(self.plain[-1])

    @cached_property
    def stored_at(self) -> memoryview:
        """`stored` for scalar access: a third of what numpy takes."""
        return memoryview(self.stored)

    @cached_property
    def plain_at(self) -> memoryview:
        """`plain` for scalar access."""
        return memoryview(self.plain)

    @cached_property
    def gaps(self) -> list[int]:
        """Numbers of the frames that are followed by long skippable frames: more than a frame's content explains."""
        plain = np.diff(self.plain)
        gaps: list[int] = np.flatnonzero(np.diff(self.stored) > plain + plain // 128 + HOP_BYTES).tolist()
        return gaps

    def stop_of(self, number: int) -> int:
        """Return where reading a frame may stop: at the next one, or earlier if long skippable frames are between."""
        start, stop = self.stored_at[number : number + 2]
        plain = self.plain_at[number + 1] - self.plain_at[number]
        return int(min(stop, start + plain + plain // 128 + HOP_BYTES))  # libzstd adds 1/256 at most, and 64 bytes

    def holding(self, start: int, length: int) -> tuple[int, int]:
        """Return the frames that hold a range of the plain tar of at least a byte: the first, and the one behind."""
        plain_at = self.plain_at
        return bisect_right(plain_at, start) - 1, bisect_left(plain_at, start + length)

    def stored_range(self, start: int, length: int) -> StoredRange:
        """Return which bytes of the file hold a range of the plain tar."""
        first, stop = self.holding(start, max(1, length))
        last = len(self.stored_at) - 2  # an empty payload may be at the very end of the tar, behind the last frame
        first, stop = min(first, last), min(stop, last + 1)
        begin = self.stored_at[first]
        return StoredRange(begin, self.stored_at[stop] - begin, start - self.plain_at[first])

    def same_as(self, other: Frames | None) -> bool:
        """Return whether both have the same offsets."""
        if other is None:
            return False
        return np.array_equal(self.stored, other.stored) and np.array_equal(self.plain, other.plain)


def skippable_end(data: bytes | memoryview, at: int = 0) -> int | None:
    """Return where the skippable frame that begins at an offset ends (RFC 8878, section 3.1.2); None if none does."""
    if bytes(data[at : at + 4]) not in _SKIPPABLE:
        return None
    return at + SKIPPABLE_HEADER_BYTES + int.from_bytes(data[at + 4 : at + SKIPPABLE_HEADER_BYTES], "little")


def seek_table(frames: Frames) -> bytes:
    """Return the skippable frame that ends a compressed shard: lengths of all frames, without checksums."""
    entries = np.empty((len(frames), 2), "<u4")
    entries[:, 0], entries[:, 1] = np.diff(frames.stored), np.diff(frames.plain)
    size = entries.nbytes + FOOTER_BYTES
    footer = len(frames).to_bytes(4, "little") + b"\0" + FOOTER_MAGIC
    return SEEK_TABLE_MAGIC + size.to_bytes(4, "little") + entries.tobytes() + footer


def seek_table_bytes(footer: bytes) -> int | None:
    """Return the length of the seek table, header and footer included, that a file with these last 9 bytes has.

    None if they are not those of a seek table.
    """
    if len(footer) != FOOTER_BYTES or footer[5:] != FOOTER_MAGIC or footer[4] & _UNDEFINED_FLAGS:
        return None
    count = int.from_bytes(footer[:4], "little")
    width = 12 if footer[4] & _HAS_CHECKSUMS else 8
    return None if count > MAX_FRAMES else SKIPPABLE_HEADER_BYTES + width * count + FOOTER_BYTES


def parse_seek_table(table: bytes) -> npt.NDArray[np.int64] | None:
    """Return (frames, 2) the lengths of all frames, compressed and plain; None if this is not a seek table."""
    if len(table) < SKIPPABLE_HEADER_BYTES or seek_table_bytes(table[-FOOTER_BYTES:]) != len(table):
        return None
    size = int.from_bytes(table[4:SKIPPABLE_HEADER_BYTES], "little")
    if table[:4] != SEEK_TABLE_MAGIC or size != len(table) - SKIPPABLE_HEADER_BYTES:
        return None
    width = 3 if table[-5] & _HAS_CHECKSUMS else 2
    entries = np.frombuffer(table, "<u4", offset=SKIPPABLE_HEADER_BYTES, count=(size - FOOTER_BYTES) // 4)
    return entries.reshape(-1, width)[:, :2].astype(np.int64)


def frames_of(lengths: npt.NDArray[Any], *, begin: int = 0) -> Frames:
    """Return adjacent frames from their lengths (frames, 2), compressed and plain.

    A frame without content is not counted: the one before it extends to its end.
    """
    edges = np.zeros((len(lengths) + 1, 2), np.uint64)
    np.cumsum(lengths, axis=0, out=edges[1:])
    edges[:, 0] += np.uint64(begin)
    holds = np.flatnonzero(np.diff(edges[:, 1]) > 0)
    edges = edges[np.append(holds, len(lengths))]
    return Frames(np.ascontiguousarray(edges[:, 0]), np.ascontiguousarray(edges[:, 1]))

"""Ascending positions as one bit for each sample of the range that they are from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shardpack.order.runs import PIECE
from shardpack.runtime.arrays import Integers

_BLOCK = 64  # bytes of the bitmap under one count
_TOGETHER = 1 << 12  # items found at once, at 1.5 KB each
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8).reshape(-1, 1), axis=1, bitorder="little")  # (256, 8)
_ONES = _BITS.sum(axis=1, dtype=np.uint8)  # (256) bits that are set in a byte
_NTH = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint8)  # (256, 8) number of a byte's n-th bit that is set

Bytes = npt.NDArray[np.uint8]


class Bitmap:
    """Ascending positions that are neither few nor mostly runs: a sequence of integers. Immutable.

    An item is found by its block of 512 bits, then by the bytes of the block.

    Attributes:
        first: The position of the first bit, a multiple of 8.
        bits: (b) bit i of byte j stands for position `first` + 8 j + i.
    """

    def __init__(self, first: int, bits: Bytes) -> None:
        self.first, self.bits = first, bits
        # (blocks + 1) items before each block, and the length
        self._before = np.zeros(-(-len(bits) // _BLOCK) + 1, np.int64)
        if len(bits):
            per_block = np.add.reduceat(_ONES[bits], np.arange(0, len(bits), _BLOCK), dtype=np.int64)
            np.cumsum(per_block, out=self._before[1:])
        self._length = int(self._before[-1])

    @classmethod
    def of(cls, ascending: Integers) -> Bitmap:
        """Return the bitmap of ascending, different positions, at least one."""
        first = int(ascending[0]) // 8 * 8
        flags = np.zeros(int(ascending[-1]) + 1 - first, np.bool_)
        flags[ascending - first] = True
        return cls(first, np.packbits(flags, bitorder="little"))

    def __reduce__(self) -> tuple[type[Bitmap], tuple[int, Bytes]]:
        return Bitmap, (self.first, self.bits)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        return int(self.at(np.array([item]))[0])

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        count = len(items)
        if count and int(items[-1]) - int(items[0]) == count - 1 and bool((np.diff(items) == 1).all()):
            return self._run(int(items[0]), count)
        parts = [self._some(items[begin : begin + _TOGETHER]) for begin in range(0, count, _TOGETHER)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int64), *parts])

    def _run(self, first: int, count: int) -> Integers:
        """Return the positions of neighbouring items."""
        begin = int(np.searchsorted(self._before, first, side="right")) - 1
        end = int(np.searchsorted(self._before, first + count - 1, side="right"))
        found = _set_bits(self.bits[begin * _BLOCK : end * _BLOCK], self.first + 8 * _BLOCK * begin)
        skipped = first - int(self._before[begin])
        return found[skipped : skipped + count]

    def _some(self, items: Integers) -> Integers:
        """Return the positions of n items."""
        block = np.searchsorted(self._before, items, side="right") - 1  # (n)
        numbers = block[:, None] * _BLOCK + np.arange(_BLOCK)  # (n, 64) bytes of each item's block
        held = np.where(numbers < len(self.bits), self.bits[np.minimum(numbers, len(self.bits) - 1)], np.uint8(0))
        before = np.cumsum(_ONES[held], axis=1, dtype=np.int64)  # (n, 64) items up to the end of each byte
        rest = items - self._before[block]  # (n) items of the block before this one
        byte = (before <= rest[:, None]).sum(axis=1)  # (n)
        rows = np.arange(len(items))
        own = held[rows, byte]
        rest -= before[rows, byte] - _ONES[own]
        found: Integers = self.first + 8 * (block * _BLOCK + byte) + _NTH[own, rest]
        return found

    def holds(self, position: int) -> bool:
        """Return whether a position is in the bitmap."""
        byte, bit = divmod(position - self.first, 8)
        return 0 <= byte < len(self.bits) and bool(self.bits[byte] >> bit & 1)

    def pieces(self) -> Iterator[Integers]:
        """Yield all positions in order, some at a time."""
        for begin in range(0, len(self.bits), PIECE // 8):
            found = _set_bits(self.bits[begin : begin + PIECE // 8], self.first + 8 * begin)
            if len(found):
                yield found

    def is_ascending(self) -> bool:
        """Return whether each position is larger than the one before it."""
        return True


def _set_bits(held: Bytes, first: int) -> Integers:
    """Return the positions of the bits that are set; that of the first bit is `first`."""
    found: Integers = np.flatnonzero(np.unpackbits(held, bitorder="little")) + first
    return found

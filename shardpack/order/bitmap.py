"""Ascending positions as one bit for each sample of the range that they are from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.order.runs import PIECE
from shardpack.runtime.arrays import Integers, narrowest

_WORD = 8  # bytes of the bitmap under one count
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8).reshape(-1, 1), axis=1, bitorder="little")  # (256, 8)
_ONES = _BITS.sum(axis=1, dtype=np.uint8)  # (256) bits that are set in a byte
_NTH = np.argsort(1 - _BITS, axis=1, kind="stable").astype(np.uint8)  # (256, 8) number of a byte's n-th bit that is set
_HALVES = [(width, (1 << width) - 1) for width in (32, 16, 8, 4, 2, 1)]  # of a word, down to a bit

Bytes = npt.NDArray[np.uint8]


class Bitmap:
    """Ascending positions that are neither few nor mostly runs: a sequence of integers. Immutable.

    An item is found by counts of the items before each 64 bits, which take half as much memory as the bits.

    Attributes:
        first: The position of the first bit, a multiple of 8.
        bits: (b) bit i of byte j stands for position `first` + 8 j + i; b is a multiple of 8.
    """

    def __init__(self, first: int, bits: Bytes) -> None:
        self.first, self.bits = first, bits
        counts = _ONES[bits].reshape(-1, _WORD).sum(axis=1, dtype=np.int64)
        # (words + 1) items before each word, and the length
        self._before = narrowest(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))
        # For scalar access: memoryviews take a third of the time.
        self._befores: Any = memoryview(self._before)
        self._words: Any = memoryview(bits.view("<u8").astype(np.uint64, copy=False))
        self._length = int(self._before[-1])

    @classmethod
    def of(cls, ascending: Integers) -> Bitmap:
        """Return the bitmap of ascending, different positions, at least one."""
        first = int(ascending[0]) // 8 * 8
        flags = np.zeros(-(-(int(ascending[-1]) + 1 - first) // (8 * _WORD)) * 8 * _WORD, np.bool_)
        flags[ascending - first] = True
        return cls(first, np.packbits(flags, bitorder="little"))

    def __reduce__(self) -> tuple[type[Bitmap], tuple[int, Bytes]]:
        return Bitmap, (self.first, self.bits)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> int:
        """Return the position of an item, 0 <= item < len(self)."""
        word = bisect_right(self._befores, item) - 1
        rest, held, bit = item - self._befores[word], self._words[word], 0
        for width, mask in _HALVES:
            below = held & mask
            if rest < (count := below.bit_count()):
                held = below
            else:
                held, rest, bit = held >> width, rest - count, bit + width
        return self.first + 8 * _WORD * word + bit

    def at(self, items: Integers) -> Integers:
        """Return the positions of items, 0 <= item < len(self)."""
        count = len(items)
        if count and int(items[-1]) - int(items[0]) == count - 1 and bool((np.diff(items) == 1).all()):
            return self._run(int(items[0]), count)
        parts = [self._some(items[begin : begin + PIECE]) for begin in range(0, count, PIECE)]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.int64), *parts])

    def _run(self, first: int, count: int) -> Integers:
        """Return the positions of neighbouring items."""
        begin = bisect_right(self._befores, first) - 1
        end = bisect_right(self._befores, first + count - 1)
        found = _set_bits(self.bits[begin * _WORD : end * _WORD], self.first + 8 * _WORD * begin)
        skipped = first - self._befores[begin]
        return found[skipped : skipped + count]

    def _some(self, items: Integers) -> Integers:
        """Return the positions of n items."""
        # The same type, or numpy would convert all counts at each call.
        word = np.searchsorted(self._before, items.astype(self._before.dtype), side="right") - 1
        held = self.bits.reshape(-1, _WORD)[word]  # (n, 8) bytes of each item's word
        upto = np.cumsum(_ONES[held], axis=1, dtype=np.uint8)  # (n, 8) items of the word up to the end of each byte
        rest = (items - self._before[word]).astype(np.uint8)  # (n) items of the word before this one
        byte = (upto <= rest[:, None]).sum(axis=1)  # (n)
        rows = np.arange(len(items))
        own = held[rows, byte]
        rest -= upto[rows, byte] - _ONES[own]
        found: Integers = self.first + 8 * (word * _WORD + byte) + _NTH[own, rest]
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

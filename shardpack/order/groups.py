"""The samples of a dataset by class: what balanced and weighted orders draw from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64

from shardpack.runtime.arrays import Integers

NewArray = Callable[[int, npt.DTypeLike], npt.NDArray[Any]]  # (length, type) -> zeros to write

_PIECE = 1 << 20  # positions at once
_NARROW = 1 << 32  # stored samples up to which a position is kept in 4 bytes


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Stored positions grouped by class. Samples without a class are in no group.

    Attributes:
        names: The classes, in the order of their groups.
        starts: (c + 1) where each group begins in `positions`; the length of those at the end.
        positions: The groups one behind the other, each ascending; integers of any width, perhaps in a map.
        earlier: (n) how many neighbours before each position are equal to it; None if all positions differ.
    """

    names: tuple[str, ...]
    starts: Integers
    positions: npt.NDArray[Any]
    earlier: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        """Return the number of classes."""
        return len(self.names)

    @property
    def counts(self) -> Integers:
        """(c) number of samples of each class."""
        return np.diff(self.starts)

    def of(self, name: str) -> npt.NDArray[Any]:
        """Return the positions of a class."""
        number = self.names.index(name)
        return self.positions[self.starts[number] : self.starts[number + 1]]

    def among(self, pieces: Iterable[Integers], num_stored: int, *, new_array: NewArray = np.zeros) -> Groups:
        """Return the groups of some samples alone; one that comes several times is in its group as often.

        Takes a byte for each stored sample while it works, and 4 bytes for each sample of the result; twice that if
        samples come several times.

        Args:
            pieces: The stored positions of the samples, some at a time.
            num_stored: Stored samples of the dataset.
            new_array: Makes the arrays of the result, which may be too large for memory: the caller knows where it has
                room for them.
        """
        num_items = 0
        times: npt.NDArray[Any] = np.zeros(num_stored, np.uint8)
        for piece in pieces:
            distinct, repeats = np.unique(piece, return_counts=True)
            sums = times[distinct] + repeats
            if int(sums.max(initial=0)) > np.iinfo(times.dtype).max:
                times = times.astype(np.int64)
            times[distinct] = sums
            num_items += len(piece)
        most = int(times.max(initial=0))
        width = np.uint32 if num_stored <= _NARROW else np.int64
        kept, earlier = new_array(num_items, width), new_array(num_items, width) if most > 1 else None
        starts, filled = np.zeros_like(self.starts), 0
        for begin in range(0, len(self.positions), _PIECE):
            piece = self.positions[begin : begin + _PIECE]
            before = np.concatenate(([0], np.cumsum(times[piece], dtype=np.int64)))  # kept positions before each
            first, last = np.searchsorted(self.starts, (begin, begin + len(piece)), side="right")
            starts[first:last] = filled + before[self.starts[first:last] - begin]
            some = slice(filled, filled + int(before[-1]))
            kept[some] = np.repeat(piece, times[piece])
            if earlier is not None:
                earlier[some] = np.arange(before[-1]) - np.repeat(before[:-1], times[piece])
            filled = some.stop
        return Groups(self.names, starts, kept[:filled], None if earlier is None else earlier[:filled])

    def without(self, classes: Iterable[int]) -> Classes:
        """Return the classes that have samples but for these, sorted by name."""
        counts, left_out = self.counts.tolist(), set(classes)
        kept = sorted((c for c in range(len(self)) if counts[c] and c not in left_out), key=self.names.__getitem__)
        return Classes(
            tuple(self.names[c] for c in kept),
            self.starts[:-1][kept],
            self.counts[kept],
            self.positions,
            tuple(kept),
            self.earlier,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The classes that an order draws from, numbered as SPEC 7.7 does.

    Attributes:
        names: Their names, sorted.
        first: (c) where the positions of each begin.
        count: (c) number of samples of each, at least 1.
        positions: Positions of all groups, also of classes that are left out.
        group: Number of each one's group in the `Groups` that they are from.
        earlier: As in `Groups`.
    """

    names: tuple[str, ...]
    first: Integers
    count: Integers
    positions: npt.NDArray[Any]
    group: tuple[int, ...]
    earlier: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def digest(self, weights: Sequence[int]) -> str:
        """Return the hash of names, weights and positions (SPEC 7.7). Reads all positions."""
        hashed = xxh3_64()
        counts = self.count.tolist()
        for name, count, weight in zip(self.names, counts, weights, strict=True):
            text = name.encode("utf-8", "surrogatepass")
            hashed.update(np.array([len(text), count, weight], "<u8").tobytes() + text)
        for begin, count in zip(self.first.tolist(), counts, strict=True):
            for at in range(begin, begin + count, _PIECE):
                hashed.update(self.positions[at : min(at + _PIECE, begin + count)].astype("<u8").tobytes())
        return hashed.hexdigest()

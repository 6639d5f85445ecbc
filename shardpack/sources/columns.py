"""Columns of values that need no Python object each: of a million labels, a list would take most of the memory.

MadeColumn    values that are made when they are asked for
Texts         bytes in one buffer
Chosen        values of other columns, by their numbers
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
N = TypeVar("N", bound=np.generic)

_AT_ONCE = 65_536  # values that are made together while one iterates


class MadeColumn(Sequence[T_co]):
    """A column whose values are made when they are asked for; slices are lists."""

    __slots__ = ()

    def _value(self, row: int) -> T_co:
        """Return the value of a row, counted from 0."""
        raise NotImplementedError

    @overload
    def __getitem__(self, which: int) -> T_co: ...
    @overload
    def __getitem__(self, which: slice) -> list[T_co]: ...
    def __getitem__(self, which: int | slice) -> T_co | list[T_co]:
        rows = range(len(self))[which]
        return self._value(rows) if isinstance(rows, int) else list(map(self._value, rows))


class Texts(MadeColumn[bytes]):
    """Byte strings, which take 8 bytes each besides their own."""

    __slots__ = ("_data", "_ends")

    def __init__(self, texts: Iterable[bytes] = ()) -> None:
        self._data, self._ends = bytearray(), array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: bytes) -> None:
        """Add a text behind the others."""
        self._data += text
        self._ends.append(len(self._data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _value(self, row: int) -> bytes:
        return bytes(memoryview(self._data)[self._ends[row] : self._ends[row + 1]])


class Chosen(Sequence[T_co]):
    """Values of columns: value i is that with the number `numbers[i]`, counted through all columns.

    Takes 8 bytes a value. Slices are lists; pickles as a list, without the values that were not chosen.
    """

    __slots__ = ("_starts", "columns", "numbers")

    def __init__(self, columns: Sequence[Sequence[T_co]], numbers: npt.NDArray[np.int64]) -> None:
        self.columns, self.numbers = tuple(columns), numbers
        self._starts = list(accumulate(map(len, columns), initial=0))

    @classmethod
    def of(cls, values: Sequence[T]) -> Chosen[T]:
        """Return a sequence as it is, in a column."""
        return values if isinstance(values, Chosen) else Chosen((values,), np.arange(len(values)))

    @classmethod
    def joined(cls, parts: Sequence[Sequence[T]]) -> Chosen[T]:
        """Return the values of several sequences, one after the other."""
        columns: list[Sequence[T]] = []
        numbers = [np.zeros(0, np.int64)]
        start = 0
        for part in map(Chosen.of, parts):
            columns += part.columns
            numbers.append(part.numbers + start)
            start += sum(map(len, part.columns))
        return Chosen(columns, np.concatenate(numbers))

    def take(self, order: npt.NDArray[Any]) -> Chosen[T_co]:
        """Return the values with these numbers, in this order."""
        return Chosen(self.columns, self.numbers[order])

    def inserted(self, is_new: npt.NDArray[np.bool_], values: Sequence[T_co]) -> Chosen[T_co]:
        """Return the values with others among them, at the places that `is_new` marks."""
        other = Chosen.of(values)
        numbers = inserted(self.numbers, is_new, other.numbers + self._starts[-1])
        return Chosen((*self.columns, *other.columns), numbers)

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, which: int) -> T_co: ...
    @overload
    def __getitem__(self, which: slice) -> list[T_co]: ...
    def __getitem__(self, which: int | slice) -> T_co | list[T_co]:
        if isinstance(which, slice):
            return self._values(self.numbers[which])
        number = int(self.numbers[which])
        column = bisect_right(self._starts, number) - 1
        return self.columns[column][number - self._starts[column]]

    def __iter__(self) -> Iterator[T_co]:
        for first in range(0, len(self), _AT_ONCE):
            yield from self[first : first + _AT_ONCE]

    def _values(self, numbers: npt.NDArray[np.int64]) -> list[T_co]:
        if len(self.columns) == 1:
            return list(map(self.columns[0].__getitem__, numbers.tolist()))
        starts = np.array(self._starts)
        columns = np.searchsorted(starts, numbers, side="right") - 1
        places = zip(columns.tolist(), (numbers - starts[columns]).tolist(), strict=True)
        return [self.columns[column][row] for column, row in places]

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_equal, self, other))

    __hash__ = None  # type: ignore[assignment]


def inserted(values: npt.NDArray[N], is_new: npt.NDArray[np.bool_], others: npt.ArrayLike) -> npt.NDArray[N]:
    """Return an array with others among its values, at the places that `is_new` marks: one for each place."""
    result = np.empty(len(is_new), values.dtype)
    result[is_new] = others
    result[~is_new] = values
    return result


def _equal(one: object, other: object) -> bool:
    return bool(one == other)


def lengths(values: Sequence[bytes]) -> npt.NDArray[np.int64]:
    """Return the length of each value."""
    return np.fromiter(map(len, values), np.int64, len(values))

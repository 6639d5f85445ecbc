"""What many packages do with arrays, and names for the types in their signatures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def narrowest(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return integers as uint32 if all fit, else as they are."""
    if numbers.dtype == np.uint32 or not len(numbers) or int(numbers.min()) < 0 or int(numbers.max()) >> 32:
        return numbers
    return numbers.astype(np.uint32)


def each_of(objects: Sequence[Any], numbers: Integers) -> Iterable[Any]:
    """Return objects[k] for each k of `numbers`: by an array of objects in a third of the time that a loop takes."""
    if len(numbers) and (numbers == numbers[0]).all():
        return repeat(objects[numbers[0]], len(numbers))
    array = np.empty(len(objects), object)
    for at, one in enumerate(objects):  # one by one, as numpy would take a list of buffers for a matrix
        array[at] = one
    picked: list[Any] = array[numbers].tolist()
    return picked

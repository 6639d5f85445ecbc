"""Collation: the values of a field in a batch as one array, or as a list."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Empty = Callable[[tuple[int, ...], Any], npt.NDArray[Any]]  # (shape, dtype) -> uninitialized memory, as `numpy.empty`


def stacked(values: list[Any], empty: Empty = np.empty) -> Any:
    """Return values as one array if they are alike, else the list itself.

    Arrays and tensors of equal shape and dtype are stacked. Integers become int64, floats float64,
    booleans bool, NumPy scalars an array of their type. Other types, mixed types, and lists with a
    missing value (None) stay lists.

    Args:
        values: At least one.
        empty: Makes the memory of an array.
    """
    kinds = set(map(type, values))
    if len(kinds) != 1:
        return values
    kind = kinds.pop()
    if kind is np.ndarray:
        return _stacked_arrays(values, empty)
    if kind is int:
        fits = min(values) >= -(2**63) and max(values) < 2**63
        return np.array(values, np.int64) if fits else values
    if kind in (float, bool) or issubclass(kind, np.generic):
        return np.array(values)
    torch = sys.modules.get("torch")  # tensors exist only if torch is loaded
    if torch is not None and issubclass(kind, torch.Tensor):
        alike = len({(value.shape, value.dtype, value.device) for value in values}) == 1
        return torch.stack(values) if alike else values
    return values


def _stacked_arrays(values: list[Any], empty: Empty) -> Any:
    if len({(value.shape, value.dtype) for value in values}) > 1:
        return values
    first = values[0]
    if first.dtype.hasobject:
        return np.stack(values)
    return np.stack(values, out=empty((len(values), *first.shape), first.dtype))

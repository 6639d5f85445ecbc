"""Names for the array types that signatures of many packages use."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def narrowest(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return integers as uint32 if all fit, else as they are."""
    if numbers.dtype == np.uint32 or not len(numbers) or int(numbers.min()) < 0 or int(numbers.max()) >> 32:
        return numbers
    return numbers.astype(np.uint32)

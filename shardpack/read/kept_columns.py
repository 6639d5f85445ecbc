"""What an open dataset keeps of its label table, for the next stream that draws from it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shardpack.order.groups import Groups
from shardpack.runtime.latest import Latest


@dataclass(frozen=True, slots=True)
class KeptColumns:
    """Columns of all stored samples, each in the form in which epochs draw from it. Belongs to a `ShardCache`.

    Memory: 4 bytes for each stored sample and 8 more, page cache where that is much (`storage.scratch_array`).

    Attributes:
        groups: The samples by the values of a column, of the one that was asked for last.
        numbers: (n) the numbers of a column, likewise; not to be written.
    """

    groups: Latest[Groups] = field(default_factory=Latest)
    numbers: Latest[npt.NDArray[np.float64]] = field(default_factory=Latest)

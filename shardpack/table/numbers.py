"""The numbers of a column of the table, as weighted epochs need them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.storage.protocols import Store
from shardpack.storage.scratch_array import scratch_array
from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable


def column_numbers(store: Store, manifest: Manifest, column: str) -> npt.NDArray[np.float64]:
    """Return (n) the value of each stored sample in a column, NaN where it has none; a `scratch_array`, read-only.

    Args:
        store: Where the dataset's `.shardpack` is.
        manifest: Of the dataset.
        column: Numbers or booleans.

    Raises:
        OptionError: The dataset has no table, or the table no such column, or its values are no numbers.
    """
    table = LabelTable.open(store, manifest)
    table.check_columns([column])
    numbers = scratch_array(table.num_rows, np.float64)
    for first, count, columns in table.pieces([column]):
        numbers[first : first + count] = _floats(column, columns[column])
    numbers.flags.writeable = False
    return numbers


def _floats(column: str, values: Any) -> npt.NDArray[np.float64]:
    types = pyarrow_module().types
    kind = values.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_null(kind)):
        shown = kind.value_type if types.is_dictionary(kind) else kind
        raise OptionError(f"column {column!r} holds {shown}, expected numbers; choose a column that does")
    found: npt.NDArray[Any] = values.cast("float64").to_numpy()
    return found

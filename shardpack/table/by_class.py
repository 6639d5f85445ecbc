"""Samples grouped by the values of a column of the table, in O(n): what balanced epochs draw from.

codes of all rows --those of the view--> counted --stable sort--> items of the first value, of the second, ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.order.groups import Groups
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store
from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable

_NONE = np.uint32(0xFFFFFFFF)


def group_positions(store: Store, manifest: Manifest, column: str, stored_positions: Integers | None = None) -> Groups:
    """Return the samples of a dataset or view grouped by the values of a column.

    Args:
        store: Where the dataset's `.shardpack` is.
        manifest: Of the dataset.
        column: Texts, numbers or booleans.
        stored_positions: (n) of a view, in its order; None for all stored samples.

    Raises:
        OptionError: The dataset has no table, or the table no such column, or its values are lists or objects.
    """
    return group_rows(LabelTable.open(store, manifest), column, stored_positions)


def group_rows(table: LabelTable, column: str, stored_positions: Integers | None = None) -> Groups:
    """Return the rows of a table grouped by the values of a column; see `group_positions`."""
    values, codes = _codes(table, column)
    if stored_positions is not None:
        codes = codes[stored_positions]
    order = sorted(range(len(values)), key=lambda number: values[number])
    rank = np.full(len(values) + 1, len(values), np.uint32)  # the last one is of samples without a value
    rank[order] = np.arange(len(values), dtype=np.uint32)
    ranks = rank[np.minimum(codes, np.uint32(len(values)))]
    counts = np.bincount(ranks, minlength=len(values) + 1)[: len(values)]
    # NumPy sorts 16 bits by radix, in O(n).
    by_rank = np.argsort(ranks.astype(np.uint16) if len(values) < 0xFFFF else ranks, kind="stable")
    positions = by_rank[: int(counts.sum())]
    kept = np.flatnonzero(counts)
    return Groups(
        tuple(_text(values[order[number]]) for number in kept.tolist()),
        np.concatenate(([0], np.cumsum(counts[kept]))).astype(np.int64),
        positions.astype(np.uint32 if len(codes) <= 1 << 32 else np.uint64),
    )


def _codes(table: LabelTable, column: str) -> tuple[list[Any], npt.NDArray[np.uint32]]:
    """Return the different values of a column, and for each row the number of its value; `_NONE` for none."""
    table.check_columns([column])
    pa = pyarrow_module()
    number_of: dict[Any, int] = {}
    codes = np.empty(table.num_rows, np.uint32)
    for first, count, columns in table.pieces([column]):
        values = columns[column]
        if pa.types.is_nested(values.type):
            raise OptionError(f"column {column!r} holds lists or objects; group by one of texts, numbers or booleans")
        encoded = values.combine_chunks()
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        numbers = [number_of.setdefault(value, len(number_of)) for value in encoded.dictionary.to_pylist()]
        own = encoded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        codes[first : first + count] = np.array([*numbers, _NONE], np.uint32)[own]
    return list(number_of), codes


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

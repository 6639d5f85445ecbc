"""Samples grouped by the values of a column of the table, in O(n): what balanced epochs draw from.

rows of a file --dictionary--> codes: which of the file's values each row has
codes of a file --stable sort--> its positions by group --each behind those of files before--> groups
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.order.groups import Groups
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store
from shardpack.storage.scratch_array import scratch_array
from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable


@dataclass(frozen=True, slots=True, eq=False)
class _Codes:
    """A column of one file.

    Attributes:
        numbers: (v + 1) of each of the file's values its number in the whole table, and at the end that of no value.
        rows: (n) which of these each row has.
    """

    numbers: Integers
    rows: npt.NDArray[np.unsignedinteger[Any]]


def group_positions(store: Store, manifest: Manifest, column: str) -> Groups:
    """Return the stored samples of a dataset grouped by the values of a column.

    Args:
        store: Where the dataset's `.shardpack` is.
        manifest: Of the dataset.
        column: Texts, numbers or booleans.

    Raises:
        OptionError: The dataset has no table, or the table no such column, or its values are lists or objects.
    """
    return group_rows(LabelTable.open(store, manifest), column)


def group_rows(table: LabelTable, column: str) -> Groups:
    """Return the rows of a table grouped by the values of a column; see `group_positions`."""
    values, files = _codes(table, column)
    order = sorted(range(len(values)), key=values.__getitem__)
    # (values + 1) the group of each number; the last one, of rows without a value, is dropped at the end
    group = np.full(len(values) + 1, len(values), np.min_scalar_type(len(values)))
    group[order] = np.arange(len(values))
    counts = np.zeros(len(group), np.int64)
    for codes in files:
        np.add.at(counts, group[codes.numbers], np.bincount(codes.rows, minlength=len(codes.numbers)))
    reached = np.cumsum(counts) - counts
    positions = scratch_array(table.num_rows, np.uint32 if table.num_rows <= 1 << 32 else np.uint64)
    first = 0
    for codes in files:
        own = group[codes.numbers][codes.rows]
        by_group = np.argsort(own, kind="stable")  # NumPy sorts up to 16 bits by radix, in O(n)
        own_counts = np.bincount(own, minlength=len(counts))
        places = np.repeat(reached - (np.cumsum(own_counts) - own_counts), own_counts)
        places += np.arange(len(own))
        by_group += first
        positions[places] = by_group
        reached += own_counts
        first += len(own)
    kept = np.flatnonzero(counts[:-1])
    starts = np.concatenate(([0], np.cumsum(counts[kept])))
    return Groups(tuple(_text(values[order[number]]) for number in kept.tolist()), starts, positions[: starts[-1]])


def _codes(table: LabelTable, column: str) -> tuple[list[Any], list[_Codes]]:
    """Return the different values of a column, numbered as they stand, and what each file has of them."""
    table.check_columns([column])
    pa = pyarrow_module()
    number_of: dict[Any, int] = {}
    files = []
    for piece in table.pieces([column]):
        values = piece.columns[column]
        if pa.types.is_nested(values.type):
            raise OptionError(f"column {column!r} holds lists or objects; group by one of texts, numbers or booleans")
        encoded = values.combine_chunks()
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        numbers = [number_of.setdefault(value, len(number_of)) for value in encoded.dictionary.to_pylist()]
        rows = encoded.indices.fill_null(len(numbers)).to_numpy(zero_copy_only=False)
        files.append(_Codes(np.array([*numbers, -1]), rows.astype(np.min_scalar_type(len(numbers)))))
    return list(number_of), files


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

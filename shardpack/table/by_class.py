"""Samples grouped by the values of a column of the table, in O(n): what balanced epochs draw from.

rows of a file --values get numbers--> codes, counts
codes of a file --stable sort--> its positions by value --each behind those of files before--> groups
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.manifest import Manifest
from shardpack.order.groups import Groups
from shardpack.storage.protocols import Store
from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable

_NO_VALUE = 0  # the code of rows without one; the others are numbered from 1

Codes = npt.NDArray[np.unsignedinteger[Any]]


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
    values, pieces = _codes(table, column)
    order = sorted(range(len(values)), key=lambda number: values[number])
    # (values + 1) the group of each code; the last one, of rows without a value, is dropped at the end
    group = np.full(len(values) + 1, len(values), np.min_scalar_type(len(values)))
    group[np.array(order, np.int64) + 1] = np.arange(len(values))
    counts = np.zeros(len(values) + 1, np.int64)
    for codes in pieces:
        counts += np.bincount(group[codes], minlength=len(counts))
    reached = np.cumsum(counts) - counts
    positions = np.empty(table.num_rows, np.uint32 if table.num_rows <= 1 << 32 else np.uint64)
    first = 0
    for codes in pieces:
        own = group[codes]
        by_group = np.argsort(own, kind="stable")  # NumPy sorts up to 16 bits by radix, in O(n)
        own_counts = np.bincount(own, minlength=len(counts))
        behind = reached - (np.cumsum(own_counts) - own_counts)  # from a place in `by_group` to that in `positions`
        positions[np.repeat(behind, own_counts) + np.arange(len(own))] = by_group + first
        reached += own_counts
        first += len(codes)
    kept = np.flatnonzero(counts[:-1])
    starts = np.concatenate(([0], np.cumsum(counts[kept])))
    return Groups(tuple(_text(values[order[number]]) for number in kept.tolist()), starts, positions[: starts[-1]])


def _codes(table: LabelTable, column: str) -> tuple[list[Any], list[Codes]]:
    """Return the different values of a column, and file by file the code of each row's value: its number, from 1."""
    table.check_columns([column])
    pa = pyarrow_module()
    code_of: dict[Any, int] = {}
    pieces = []
    for _, _, columns in table.pieces([column]):
        values = columns[column]
        if pa.types.is_nested(values.type):
            raise OptionError(f"column {column!r} holds lists or objects; group by one of texts, numbers or booleans")
        encoded = values.combine_chunks()
        if not pa.types.is_dictionary(encoded.type):
            encoded = encoded.dictionary_encode()
        own = [code_of.setdefault(value, len(code_of) + 1) for value in encoded.dictionary.to_pylist()]
        codes = np.array([*own, _NO_VALUE], np.min_scalar_type(len(code_of)))
        pieces.append(codes[encoded.indices.fill_null(len(own)).to_numpy(zero_copy_only=False)])
    return list(code_of), pieces


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

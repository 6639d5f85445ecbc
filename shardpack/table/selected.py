"""What the label table tells of some samples: which of them an expression is true for, and their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from shardpack.errors import OptionError
from shardpack.read.selection import Selection
from shardpack.runtime.arrays import Integers
from shardpack.table.libraries import pyarrow_module
from shardpack.table.query import Asked, matching
from shardpack.table.read_table import LabelTable


def select_where(selection: Selection, expression: str) -> Selection:
    """Return those of some samples that an expression is true for; see `Dataset.where`."""
    are_most = 2 * len(selection) >= selection.cache.manifest.num_samples
    asked = Asked(_own(selection), lambda stored: _shown(selection, stored), are_most)
    return selection.among(matching(_opened(selection), expression, asked))


def selected_columns(selection: Selection, columns: Sequence[str] | None) -> Any:
    """Return columns of the rows of some samples, in their order; see `Dataset.table`."""
    table, pa = _opened(selection), pyarrow_module()
    if isinstance(columns, str) or (columns is not None and not len(columns)):
        raise OptionError(
            f"columns are a list of names, at least one, got {columns!r}; the table has: {', '.join(table.columns)}"
        )
    wanted = list(table.columns if columns is None else columns)
    table.check_columns(wanted)
    stored, inverse = _ascending(selection, table.num_rows)
    found = []
    for first, count, arrays in table.pieces([name for name in wanted if name != "position"]):
        begin, end = np.searchsorted(stored, (first, first + count)).tolist()
        own = stored[begin:end]
        rows = pa.table({**arrays, "position": pa.nulls(count, pa.int64())})
        if len(own) < count:
            rows = rows.take(pa.array(own - first))
        rows = rows.set_column(rows.column_names.index("position"), "position", pa.array(_shown(selection, own)))
        found.append(_with_plain_class(rows.select(wanted)))
    whole = pa.concat_tables(found)
    return whole if inverse is None else whole.take(pa.array(inverse))


def _opened(selection: Selection) -> LabelTable:
    return LabelTable.open(selection.cache.stores.sidecars, selection.cache.manifest)


def _own(selection: Selection) -> Callable[[Integers], Integers]:
    """Return what leaves those of ascending stored positions that are in a selection."""
    if selection.positions is None:
        visible = selection.cache.visible
        return lambda stored: stored if visible is None else visible.only(stored)
    chosen = np.zeros(selection.cache.manifest.num_samples, bool)
    for piece in selection.positions.pieces():
        chosen[piece] = True
    return lambda stored: stored[chosen[stored]]


def _shown(selection: Selection, stored: Integers) -> Integers:
    """Return the positions that users know stored positions by."""
    visible = selection.cache.visible
    return stored if visible is None else visible.positions_of(stored)


def _ascending(selection: Selection, num_stored: int) -> tuple[Integers, Integers | None]:
    """Return the stored positions of samples, ascending, and which of them each sample has; None if they ascend."""
    positions = selection.stored_positions
    if positions is None:
        return np.arange(num_stored), None
    stored = np.concatenate([np.zeros(0, np.int64), *positions.pieces()])
    if positions.is_ascending():
        return stored, None
    different, inverse = np.unique(stored, return_inverse=True)
    return different, inverse


def _with_plain_class(rows: Any) -> Any:
    """Return rows with their classes as texts: each file has a dictionary of its own."""
    if "class" not in rows.column_names:
        return rows
    at = rows.column_names.index("class")
    return rows.set_column(at, "class", rows["class"].cast(pyarrow_module().string()))

"""The label tables of several datasets as the one of a dataset that has them one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from shardpack.table.libraries import pyarrow_module
from shardpack.table.read_table import LabelTable
from shardpack.table.rows import Rows, SplitNumbers, split_column


def joined_rows(tables: Iterable[tuple[LabelTable, int]], splits: SplitNumbers | None) -> Iterator[Rows]:
    """Yield the rows of all tables, some at a time; no sample is read.

    Args:
        tables: Each with the stored position that its first sample has in the joined dataset, in order.
        splits: The named splits of that dataset.

    Raises:
        CorruptIndexError: A file of a table is damaged.
    """
    pa = pyarrow_module()
    for table, first in tables:
        for begin, count, columns in table.pieces(table.columns):
            positions = np.arange(first + begin, first + begin + count)
            columns["position"] = pa.array(positions, pa.int64())
            columns["split"] = split_column(positions, splits)
            yield Rows(pa.table(columns), table.types)
